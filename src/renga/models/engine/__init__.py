"""Local inference: a child process that turns token ids into token ids, and what is needed to speak to a model.

Owns: the process, its client, vocabularies, chat templates, answer parsers and grammars of local models.
Must never know: HTTP, Anthropic's wire types, keys, money.
"""
