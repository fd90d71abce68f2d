"""Certificates for tests: good ones by the cluster's own CA, and bad ones."""

import datetime
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

EKU = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]


def at(seconds):
    """So many seconds from now."""
    return datetime.datetime.utcnow() + datetime.timedelta(seconds=seconds)


def pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()).decode()


def text_of(cert):
    return cert.public_bytes(serialization.Encoding.PEM).decode()


class Authority:
    """Somebody who signs: a root, or an issuer below one."""

    def __init__(self, cert, key, above=""):
        self.cert = cert
        self.key = key
        self.above = above                # PEM of what goes behind a leaf

    @classmethod
    def root(cls, name="test root"):
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(sign(name, key.public_key(), name, key, ca=True,
                        path_length=1), key)

    def issuer(self, name="test issuer"):
        key = ec.generate_private_key(ec.SECP256R1())
        cert = sign(name, key.public_key(), self.cert.subject, self.key,
                    ca=True, path_length=0, signer=self.cert)
        return Authority(cert, key, text_of(cert))

    @classmethod
    def of_cluster(cls, directory):
        """The issuer of a running `meshd identity`."""
        with open(os.path.join(directory, "issuer.crt"), "rb") as stream:
            cert = x509.load_pem_x509_certificate(stream.read())
        with open(os.path.join(directory, "issuer.key"), "rb") as stream:
            key = serialization.load_pem_private_key(stream.read(), None)
        return cls(cert, key, text_of(cert))

    def leaf(self, *uris, first=-60, last=3600, critical=True):
        """{"cert": chain, "key": key}, valid from first to last seconds"""
        key = ec.generate_private_key(ec.SECP256R1())
        cert = sign(None, key.public_key(), self.cert.subject, self.key,
                    uris=uris, first=first, last=last, signer=self.cert,
                    critical=critical)
        return {"cert": text_of(cert) + self.above, "key": pem(key)}


def sign(name, public, issuer, key, ca=False, path_length=None, uris=(),
         first=-3600, last=86400, signer=None, critical=True):
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]
                        if name else [])
    if isinstance(issuer, str):
        issuer = subject

    builder = (x509.CertificateBuilder().subject_name(subject)
               .issuer_name(issuer).public_key(public)
               .serial_number(x509.random_serial_number())
               .not_valid_before(at(first)).not_valid_after(at(last))
               .add_extension(x509.BasicConstraints(ca, path_length), True)
               .add_extension(x509.SubjectKeyIdentifier.from_public_key(
                   public), False)
               .add_extension(x509.KeyUsage(
                   not ca, False, False, False, False, ca, ca, False, False),
                   True))

    if signer is not None:
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(
                signer.public_key()), False)

    if not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage(EKU), False)

    if uris:
        builder = builder.add_extension(x509.SubjectAlternativeName(
            [x509.UniformResourceIdentifier(uri) for uri in uris]), critical)

    return builder.sign(key, hashes.SHA256())


class ClusterAuthority:
    """The files of `meshd identity`, and what to do to them."""

    def __init__(self, zoo):
        self.directory = os.path.join(zoo.root, "node", "identity")

    def now(self):
        return Authority.of_cluster(self.directory)

    def bundle(self):
        with open(os.path.join(self.directory, "trust.crt"),
                  encoding="ascii") as stream:
            return stream.read()

    def write(self, name, text):
        """As an operator would: a new file, renamed, of the same owner."""
        path = os.path.join(self.directory, name)
        info = os.stat(path)
        with open(path + ".new", "w", encoding="ascii") as stream:
            os.fchmod(stream.fileno(), info.st_mode & 0o777)
            os.fchown(stream.fileno(), info.st_uid, info.st_gid)
            stream.write(text)
        os.rename(path + ".new", path)

    def new_root(self):
        """Step by step a root that nobody knew: yields what was done."""
        old = self.bundle()
        root = Authority.root("second root")
        issuer = root.issuer("second issuer")

        self.write("trust.crt", old + text_of(root.cert))
        yield "bundle has both roots"

        self.write("issuer.key", pem(issuer.key))
        self.write("issuer.crt", text_of(issuer.cert))
        yield "issuer is of the second root"

        self.write("trust.crt", text_of(root.cert))
        yield "bundle has the second root alone"
