"""A small S3 server for s3fs, in the sandbox itself: objects with their metadata in memory, lists, path style; s3.py PORT KEY [FILE].
With a secret in FILE, the signatures (AWS, version 4) are checked."""
import hashlib
import hmac
import http.server
import sys
import time
import urllib.parse
import xml.sax.saxutils

secret = open(sys.argv[3], "rb").read() if len(sys.argv) > 3 else None
objects = {}  # "bucket/key" -> (bytes, metadata)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def signature(self, scope, names):
        """What the request should have been signed with."""
        url = urllib.parse.urlsplit(self.path)
        pairs = urllib.parse.parse_qsl(url.query, keep_blank_values=True)
        query = "&".join(sorted("=".join(urllib.parse.quote(part, safe="-_.~") for part in pair) for pair in pairs))
        fields = "".join(f"{name}:{' '.join(self.headers.get(name, '').split())}\n" for name in names.split(";"))
        request = "\n".join([self.command, url.path, query, fields, names, self.headers.get("x-amz-content-sha256", "")])
        text = "\n".join(["AWS4-HMAC-SHA256", self.headers.get("x-amz-date", ""), scope, hashlib.sha256(request.encode()).hexdigest()])
        key = b"AWS4" + secret
        for part in [*scope.split("/"), text]:
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return key.hex()

    def authorized(self):
        kind, _, rest = self.headers.get("Authorization", "").partition(" ")
        parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
        key, _, scope = parts.get("Credential", "").partition("/")
        if kind == "AWS4-HMAC-SHA256" and key == sys.argv[2]:
            if secret is None or parts.get("Signature") == self.signature(scope, parts.get("SignedHeaders", "")):
                return True
        self.reply(403)
        return False

    def list(self, bucket, query):
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        contents, common = "", set()
        for name in sorted(objects):
            key = name[len(bucket) + 1:]
            if not name.startswith(bucket + "/") or not key.startswith(prefix):
                continue
            rest = key[len(prefix):]
            if delimiter and delimiter in rest:
                common.add(prefix + rest.split(delimiter)[0] + delimiter)
                continue
            contents += f"<Contents><Key>{xml.sax.saxutils.escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>x</ETag><Size>{len(objects[name][0])}</Size></Contents>"
        common = "".join(f"<CommonPrefixes><Prefix>{xml.sax.saxutils.escape(p)}</Prefix></CommonPrefixes>" for p in sorted(common))
        self.reply(200, f"<ListBucketResult><Name>{bucket}</Name><Prefix>{xml.sax.saxutils.escape(prefix)}</Prefix><IsTruncated>false</IsTruncated>{contents}{common}</ListBucketResult>".encode(), [("Content-Type", "application/xml")])

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        bucket, _, key = urllib.parse.unquote(url.path).lstrip("/").partition("/")
        if not self.authorized():
            return
        if not key:
            self.list(bucket, dict(urllib.parse.parse_qsl(url.query)))
        elif f"{bucket}/{key}" not in objects:
            self.reply(404)
        else:
            body, metadata = objects[f"{bucket}/{key}"]
            self.reply(200, body, [*metadata, ("ETag", '"x"'), ("Last-Modified", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()))])

    do_HEAD = do_GET

    def do_PUT(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).lstrip("/")
        if not self.authorized():
            return
        metadata = [(k, v) for k, v in self.headers.items() if k.lower().startswith("x-amz-meta-") or k.lower() == "content-type"]
        source = self.headers.get("x-amz-copy-source")
        if source:
            body = objects[urllib.parse.unquote(source).lstrip("/")][0]
        objects[name] = (body, metadata)
        self.reply(200, b"<CopyObjectResult><ETag>x</ETag></CopyObjectResult>" if source else b"", [("ETag", '"x"')])

    def do_DELETE(self):
        if self.authorized():
            objects.pop(urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).lstrip("/"), None)
            self.reply(204)

    def log_message(self, *arguments):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
