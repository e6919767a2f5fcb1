"""Images that a program draws: the demo's cards and scenes, with a card or without one."""
