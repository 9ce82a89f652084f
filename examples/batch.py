"""A message batch: many requests that nobody waits for, at half the price.

Needs a server (`scripts/serve`) and its key in RENGA_KEY.
"""

import os
import time

from anthropic import Anthropic

LABELS = """Classify the customer's message into exactly one of these labels. Reply with the label only.
- card_arrival
- lost_or_stolen_card
- exchange_rate"""
MESSAGES = ("My new card has not come yet.", "I think somebody took my card.", "What is a euro worth?")


def main() -> None:
    client = Anthropic(base_url=os.environ.get("RENGA_URL", "http://127.0.0.1:8080"), api_key=os.environ["RENGA_KEY"])
    batch = client.messages.batches.create(
        requests=[
            {
                "custom_id": f"message-{number}",
                "params": {
                    "model": "haiku",
                    "max_tokens": 20,
                    "system": LABELS,
                    "messages": [{"role": "user", "content": text}],
                },
            }
            for number, text in enumerate(MESSAGES)
        ]
    )
    while client.messages.batches.retrieve(batch.id).processing_status != "ended":
        time.sleep(0.5)
    for line in client.messages.batches.results(batch.id):
        if line.result.type == "succeeded":
            print(line.custom_id, "".join(block.text for block in line.result.message.content if block.type == "text"))
        else:
            print(line.custom_id, line.result.type)


if __name__ == "__main__":
    main()
