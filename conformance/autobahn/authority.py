"""An authority that lives for one run: it vouches for the server, and the client trusts nobody else."""

import os

import trustme


class Authority:
    """`identity` is a file with the server's certificate and key; `trusted` is the environment of its clients."""

    def __init__(self, directory):
        authority = trustme.CA()
        root = directory / "root.pem"
        authority.cert_pem.write_to_path(root)
        self.identity = directory / "server.pem"
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(self.identity)
        # The one directory that might be set otherwise is none.
        self.trusted = {"SSL_CERT_FILE": os.fspath(root), "SSL_CERT_DIR": ""}
