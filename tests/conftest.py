"""Shared by all tests: nothing here reaches beyond this machine."""

import os

# Set before any Hub library is imported; they read them once.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["HF_HUB_DISABLE_XET"] = "1"
