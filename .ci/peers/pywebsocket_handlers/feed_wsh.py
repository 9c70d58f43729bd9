"""Sends every message and leaves the end to the client."""

import json
import os
import sys

from pywebsocket3 import msgutil

sys.path.insert(0, os.environ["PEER_SOURCES"])
import messages


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    sent = 0
    for message in messages.read(os.environ["PEER_MESSAGES"]):
        msgutil.send_message(request, message, end=True, binary=isinstance(message, bytes))
        sent += 1
    print(json.dumps({"sent": sent}), flush=True)
    while msgutil.receive_message(request) is not None:
        pass
    print(json.dumps({"closed": request.ws_close_code}), flush=True)
