"""
What a pod finds in its volumes: ConfigMaps and Secrets as files that follow
their objects, empty directories, paths of the machine, the identity token.
"""

import base64
import os
import secrets



class NotYet(Exception):
    """An object that a volume or variable needs is not there yet."""


def data_of(store, kind, namespace, name, optional=False):
    """key -> bytes of a ConfigMap or Secret."""
    obj = store.get(kind, namespace, name)
    if obj is None:
        if optional:
            return {}
        raise NotYet(f"{kind} {namespace}/{name} is not there")

    data = {}
    for key, text in (obj.get("data") or {}).items():
        data[key] = (base64.b64decode(text) if kind == "Secret"
                     else str(text).encode())
    for key, text in (obj.get("binaryData") or {}).items():
        data[key] = base64.b64decode(text)
    for key, text in (obj.get("stringData") or {}).items():
        data[key] = str(text).encode()
    return data


class Tokens:
    """
    The static tokens of service accounts, one line each, in kube-apiserver's
    format: token,user,uid,"groups".
    """

    def __init__(self, path):
        self.path = path
        self.lines = {}

    def of(self, namespace, account):
        who = (namespace, account)
        if who not in self.lines:
            uid = "-".join(secrets.token_hex(n) for n in (4, 2, 2, 2, 6))
            self.lines[who] = (secrets.token_urlsafe(32), uid)
            self.write()
        return self.lines[who][0]

    def write(self):
        text = "".join(
            f"{token},system:serviceaccount:{namespace}:{account},{uid},"
            f'"system:serviceaccounts,system:serviceaccounts:{namespace}"\n'
            for (namespace, account), (token, uid)
            in sorted(self.lines.items()))

        put(self.path, text.encode(), 0o644)


def put(path, data, mode):
    """Writes a file so that a reader sees the old or the new one."""
    new = path + ".new"
    with open(new, "wb") as stream:
        stream.write(data)
    os.chmod(new, mode)
    os.rename(new, path)


class Volumes:
    """The volumes of one pod, as directories to bind into containers."""

    def __init__(self, layout, store, tokens, pod):
        self.layout = layout
        self.store = store
        self.tokens = tokens
        self.pod = pod
        self.sources = {}

    def prepare(self):
        """Makes all of them, or raises NotYet; may be called again."""
        meta = self.pod["metadata"]

        for volume in self.pod["spec"].get("volumes") or []:
            path = self.layout.pod(meta["uid"], "volumes", volume["name"])

            if "hostPath" in volume:
                path = self.host_path(volume["hostPath"])
            elif "emptyDir" in volume:
                if not os.path.isdir(path):
                    os.makedirs(path)
                    os.chmod(path, 0o777)
            else:
                self.fill(path, self.files(volume))

            self.sources[volume["name"]] = path

    def refresh(self):
        """Rewrites what changed in ConfigMaps and Secrets, as kubelet."""
        for volume in self.pod["spec"].get("volumes") or []:
            if "hostPath" in volume or "emptyDir" in volume:
                continue
            path = self.sources.get(volume["name"])
            if path is None:
                continue
            try:
                self.fill(path, self.files(volume))
            except NotYet:
                continue                  # deleted: pods keep what they have

    def host_path(self, given):
        path = os.path.realpath(self.layout.host_path(given["path"]))

        if given.get("type") == "DirectoryOrCreate":
            if not os.path.isdir(path):
                os.makedirs(path, mode=0o700)
                uid = self.first_uid()
                os.chown(path, uid, uid)
        return path

    def first_uid(self):
        """Who owns a directory that is made for this pod."""
        spec = self.pod["spec"]
        contexts = [c.get("securityContext") for c in spec["containers"]]
        for context in contexts + [spec.get("securityContext")]:
            if context and "runAsUser" in context:
                return context["runAsUser"]
        return 65534

    def files(self, volume):
        """name -> (bytes, mode) of one volume."""
        namespace = self.pod["metadata"]["namespace"]
        files = {}

        if "configMap" in volume:
            source = volume["configMap"]
            data = data_of(self.store, "ConfigMap", namespace,
                           source["name"], source.get("optional", False))
            files = _picked(data, source, 0o644)

        elif "secret" in volume:
            source = volume["secret"]
            data = data_of(self.store, "Secret", namespace,
                           source["secretName"], source.get("optional", False))
            files = _picked(data, source, 0o444)

        elif "projected" in volume:
            for source in volume["projected"].get("sources") or []:
                files.update(self.projected(source, namespace))

        return files

    def projected(self, source, namespace):
        if "serviceAccountToken" in source:
            account = self.pod["spec"]["serviceAccountName"]
            name = source["serviceAccountToken"]["path"]
            token = self.tokens.of(namespace, account)
            return {name: (token.encode(), 0o444)}

        for field, kind in (("configMap", "ConfigMap"), ("secret", "Secret")):
            if field in source:
                data = data_of(self.store, kind, namespace,
                               source[field]["name"],
                               source[field].get("optional", False))
                return _picked(data, source[field], 0o444)

        return {}

    def fill(self, path, files):
        os.makedirs(path, mode=0o755, exist_ok=True)

        for name in os.listdir(path):
            if name not in files:
                os.unlink(os.path.join(path, name))

        for name, (data, mode) in files.items():
            target = os.path.join(path, name)
            try:
                with open(target, "rb") as stream:
                    if stream.read() == data:
                        continue
            except FileNotFoundError:
                pass                      # new in the object
            put(target, data, mode)

    def mounts_of(self, container):
        """(source, place, readonly) of each volumeMount."""
        mounts = []
        for mount in container.get("volumeMounts") or []:
            source = self.sources[mount["name"]]
            if mount.get("subPath"):
                source = os.path.join(source, mount["subPath"])
            mounts.append((source, mount["mountPath"],
                           bool(mount.get("readOnly"))))
        return mounts


def _picked(data, source, mode):
    """Applies a volume source's items and defaultMode."""
    mode = source.get("defaultMode", mode)
    if not source.get("items"):
        return {key: (value, mode) for key, value in data.items()}

    return {item["path"]: (data[item["key"]], item.get("mode", mode))
            for item in source["items"] if item["key"] in data}


