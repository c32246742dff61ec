"""A scripted teacher behind HTTP, and the tiny recipe that asks it."""

from chat_server import Call, ChatServer, Reply, say_json
from recipes import tiny_text


def teacher_says(call: Call) -> Reply:
    """A good label for whatever is asked; it reads the objects off the rationale-free prompt's number of images."""
    images = len(call.image_urls)
    harmful = "could harm somebody" in call.texts[-1]
    answer = (
        "I won't help with this, because somebody could get hurt. If there is a worry behind it, talk it over with a friend."
        if harmful
        else "Gladly: take your time, do it in small steps, and ask a friend to lend a hand with the rest of it."
    )
    return say_json({"perception": ["An image."] * images, "reasoning": "So it is.", "answer": answer})


def served(server: ChatServer, **parts: str) -> str:
    text = tiny_text(run="shard_size = 3", **parts)
    text = text.replace(
        '"template"',
        f'"openai_chat"\nbase_url = "{server.base_url}"\nmodel = "m"\napi_key_env = ""\nbackoff_s = 0.001\nmax_retries = 0',
    )
    # The scripted labels name no objects, so the rules would reject them all.
    return text.replace('"rules"', '"lab:Picky"')
