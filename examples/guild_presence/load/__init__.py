"""Users on real WebSockets: made up by the thousand, or those of chat logs. All that they get is checked."""
