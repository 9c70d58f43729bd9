"""A server on pywebsocket3 with the handlers beside this file. What it sees it prints, one JSON object a line."""

import json
from pathlib import Path

from pywebsocket3 import standalone


class Announced(standalone.WebSocketServer):
    def server_activate(self):
        super().server_activate()
        print(json.dumps({"listening": self.server_port}), flush=True)


handlers = str(Path(__file__).parent.resolve() / "pywebsocket_handlers")
standalone.WebSocketServer = Announced
standalone._main(["-H", "127.0.0.1", "-p", "0", "-w", handlers, "-d", handlers])
