"""The guild application over real WebSockets, beside the same written with Django Channels and with python-socketio."""
