"""Settings as people and machines read them: by name, with where each came from, the key masked. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from logsh_cli.config.resolve import BUILT_IN, Setting
from logsh_cli.config.values import mask_key

if TYPE_CHECKING:
    from logsh_cli.config.resolve import Settings


def effective(settings: Settings, *, reveal: bool = False) -> dict[str, Setting | None]:
    """Every setting by its name, ``None`` where it is not set; the key masked unless ``reveal``."""
    key = settings.api_key
    if key is not None and not reveal:
        key = Setting(mask_key(key.value), key.source)
    metadata = Setting(dict(settings.metadata), settings.metadata_source) if settings.metadata_source else None
    return {
        "profile": settings.profile,
        "api_url": settings.api_url,
        "api_key": key,
        "workspace": settings.workspace,
        "icon": settings.icon,
        "notify": settings.notify,
        "deadline": settings.deadline,
        "ca_file": settings.ca_file,
        "metadata": metadata,
        "best_effort": Setting(settings.best_effort, "LOGSH_BEST_EFFORT" if settings.best_effort else BUILT_IN),
        "on_missing_key": Setting(
            settings.on_missing_key or "fail", "LOGSH_ON_MISSING_KEY" if settings.on_missing_key else BUILT_IN
        ),
    }


def to_json(setting: Setting | None) -> dict[str, Any]:
    """``{"value", "source"}``, both null where it is not set."""
    return {"value": None, "source": None} if setting is None else {"value": setting.value, "source": setting.source}


def plain(value: Any) -> str:
    """A value as the configuration file spells it, without quotation marks."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False)
