"""
What an installer does in a cluster: Redis's users and passwords, and the CA's
bundle as the ConfigMap mesh-trust in each namespace, followed live.
"""

import base64
import hashlib
import os
import secrets

from . import inject

SYSTEM = "ngx-mesh"
PERIOD = 0.3               # s between looks at the CA's bundle

# Redis's users: name -> what they may do (the agent's is DESIGN's)
USERS = {
    "watch": "-@all +@connection +@read +@write +@scripting +@pubsub "
             "+@transaction -@dangerous +info ~mesh:* &mesh:*",
    "agent": "-@all +auth +ping +get +mget +hmget +subscribe +unsubscribe "
             "~mesh:* &mesh:*",
}

# kubelet's probe: may do nothing else, needs no password
PROBE = "user probe on nopass resetkeys resetchannels -@all +ping"


class Bootstrap:
    """Keeps the objects that every meshed namespace needs."""

    def __init__(self, node):
        self.node = node
        self.passwords = {user: secrets.token_urlsafe(24) for user in USERS}
        self.bundle_path = os.path.join(node.layout.node, "identity",
                                        "trust.crt")
        self.bundle = None

    def start(self):
        self.put("Secret", SYSTEM, "mesh-redis-users",
                 {"users.acl": self.acl()})
        self.put("Secret", SYSTEM, "mesh-redis-watch",
                 {"password": self.passwords["watch"]})
        self.node.store.listeners.append(self.changed)
        self.all_namespaces()
        self.follow()

    def acl(self):
        lines = ["user default off", PROBE]
        for user, rules in USERS.items():
            password = self.passwords[user].encode()
            digest = hashlib.sha256(password).hexdigest()
            lines.append(f"user {user} on #{digest} resetkeys resetchannels "
                         f"{rules}")
        return "\n".join(lines) + "\n"

    def put(self, kind, namespace, name, data):
        if kind == "Secret":
            data = {key: base64.b64encode(text.encode()).decode()
                    for key, text in data.items()}
        old = self.node.store.get(kind, namespace, name)
        if old is None or old.get("data") != data:
            self.node.store.put({
                "apiVersion": "v1", "kind": kind,
                "metadata": {"name": name, "namespace": namespace},
                "data": data})

    def changed(self, key, obj):
        if key[0] == "Namespace" and obj is not None:
            self.node.later(0, self.all_namespaces)

    def all_namespaces(self):
        for namespace in self.node.store.all("Namespace"):
            name = namespace["metadata"]["name"]
            self.put("Secret", name, inject.REDIS_SECRET,
                     {"password": self.passwords["agent"]})
            if self.bundle:
                self.put("ConfigMap", name, inject.TRUST,
                         {"trust.pem": self.bundle})

    def follow(self):
        """The CA makes its bundle at its first start and may change it."""
        try:
            with open(self.bundle_path, encoding="ascii") as stream:
                bundle = stream.read()
        except FileNotFoundError:
            bundle = None                 # identity has not started yet

        if bundle and bundle != self.bundle:
            self.bundle = bundle
            self.all_namespaces()
        self.node.later(PERIOD, self.follow)
