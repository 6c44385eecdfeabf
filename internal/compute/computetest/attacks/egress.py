# Addresses that lead to the host, through the proxy for the outside.
import http.client, urllib.request, urllib.error

P = ("127.0.0.1", 3128)
port = ctx["Port"]


def through(host, port):
    """A plain request for an address, then a tunnel to it."""
    got = []
    c = http.client.HTTPConnection(*P, timeout=30)
    h = "[%s]" % host if ":" in host else host
    try:
        c.request("GET", "http://%s:%d/" % (h, port), headers={"Host": "x"})
        got.append(c.getresponse().status)
    except OSError as e:
        got.append(word(e))
    s = socket.create_connection(P, 30)
    s.sendall(("CONNECT %s:%d HTTP/1.1\r\nHost: x\r\n\r\n" % (h, port)).encode())
    line = s.makefile("rb").readline().split()
    got.append(int(line[1]) if len(line) > 1 else "closed")
    return " ".join(map(str, got))


for a in ctx["Targets"]:
    attempt("egress-" + a, through, a, port)
class Quiet(urllib.request.ProxyHandler):
    pass
def follow(path):
    for n in ("NO_PROXY", "no_proxy"):
        os.environ.pop(n, None)
    o = urllib.request.build_opener(urllib.request.ProxyHandler({"http": "http://127.0.0.1:3128"}))
    try:
        return o.open("http://%s/%s" % (ctx["Redirector"], path), timeout=30).read().decode()
    except urllib.error.HTTPError as e:
        return e.code
attempt("allowed", follow, "hello")
for n in ("metadata", "host", "name"):
    attempt("redirect-" + n, follow, n)
def raw(b):
    s = socket.create_connection(P, 30)
    s.sendall(b)
    line = s.makefile("rb").readline().split()
    return int(line[1]) if len(line) > 1 else "closed"
attempt("odd-no-port", raw, b"CONNECT 127.0.0.1 HTTP/1.1\r\nHost: x\r\n\r\n")
attempt("odd-userinfo", raw, b"GET http://example.com@127.0.0.1:%d/ HTTP/1.1\r\nHost: x\r\n\r\n" % port)
attempt("odd-path", raw, b"GET /etc/passwd HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port)
attempt("odd-scheme", raw, b"GET unix:///run/clary/api.sock HTTP/1.1\r\nHost: x\r\n\r\n")
attempt("odd-file", raw, b"GET file:///etc/shadow HTTP/1.1\r\nHost: x\r\n\r\n")
attempt("odd-smuggled", raw, b"GET http://127.0.0.1:%d/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % port)

# Credentials: only the own path answers.
def cred(path, method="GET"):
    c = http.client.HTTPConnection("169.254.170.2", 80, timeout=30)
    c.request(method, path)
    return c.getresponse().status
own = os.environ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]
attempt("credentials-own", cred, own)
attempt("credentials-neighbour", cred, ctx["NeighbourPath"])
for n, p in (("root", "/"), ("folder", "/v2/credentials/"), ("dots", "/v2/credentials/../credentials/x"), ("twice", "/" + own), ("slash", own + "/"), ("upper", own.upper()), ("escaped", own[:-1] + "%" + "%02x" % ord(own[-1]) + "x"), ("prefix", own[:-1])):
    attempt("credentials-" + n, cred, p)
attempt("credentials-post", cred, own, "POST")
print("end\tend", flush=True)
