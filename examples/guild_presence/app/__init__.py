"""The application: gateways with a WebSocket for each session, and guilds on nodes of their own.

Read `protocol` (what clients may say), `members` (who is there), `guild` and `session` (the two actors, the part that
uses the library), `wire`, `web` and `gateway` (a gateway's process), then `overview` (what the page's panel shows) and
`supervisor` (who starts and ends the processes).
"""
