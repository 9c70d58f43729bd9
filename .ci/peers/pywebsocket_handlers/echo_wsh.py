"""Sends every message, one at a time, and compares what comes back."""

import json
import os
import sys

from pywebsocket3 import msgutil

sys.path.insert(0, os.environ["PEER_SOURCES"])
import messages


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    same = different = 0
    for message in messages.read(os.environ["PEER_MESSAGES"]):
        msgutil.send_message(request, message, end=True, binary=isinstance(message, bytes))
        if msgutil.receive_message(request) == message:
            same += 1
        else:
            different += 1
    print(json.dumps({"same": same, "different": different}), flush=True)
    # Returning closes the session with 1000.
