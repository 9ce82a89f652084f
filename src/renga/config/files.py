"""Settings of uploaded files: their size, number and place."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from renga.config.kinds import Positive


class FileSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Files that clients upload, and where their bytes live."""

    enabled: Annotated[bool, Meta(description="Whether clients may upload files.")] = True
    bucket: Annotated[str, Meta(description="`s3://BUCKET/PREFIX`; empty means a folder in the data folder.")] = ""
    s3_endpoint: Annotated[str, Meta(description="URL of an S3-compatible service; empty means Amazon's.")] = ""
    s3_region: Annotated[str, Meta(description="Region of the bucket.")] = "us-east-1"
    s3_access_key_env: Annotated[str, Meta(description="Variable that holds the access key's id.")] = (
        "AWS_ACCESS_KEY_ID"
    )
    s3_secret_key_env: Annotated[str, Meta(description="Variable that holds the secret access key.")] = (
        "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - the variable's name
    )
    max_file_bytes: Annotated[int, Meta(description="Largest file.", ge=1)] = 500_000_000
    quota_bytes: Annotated[Positive | None, Meta(description="What a key or workspace may keep.")] = 10_000_000_000
    quota_files: Annotated[Positive | None, Meta(description="Files that a key or workspace may keep.")] = 10_000
    max_inline_bytes: Annotated[int, Meta(description="Files named in one request, together.", ge=1)] = 24_000_000
    max_uploads: Annotated[int, Meta(description="Uploads at the same time; beyond it clients get 529.", ge=1)] = 16
    expire_after_s: Annotated[Positive | None, Meta(description="Life of a file whose client names none.")] = None
    downloadable: Annotated[bool, Meta(description="Whether uploads may be downloaded; the API says no.")] = False
