"""A chat-completions server on loopback with answers that a test defines."""

import contextlib
import dataclasses
import http.server
import json
import math
import re
import threading
import time


@dataclasses.dataclass(frozen=True)
class Reply:
    """The server's reply to one request.

    Attributes:
        text: of the completion.
        status: of HTTP; with another than 200 `text` is the message of an error.
        headers: more of them.
        raw: the body, whatever it is, instead of a completion.
        chances: {token: probability} of the first token, as log-probs.
        wait: seconds before the answer.
        drop: the connection is closed instead; 'midway' in the middle of the body.
        drip: seconds before each byte: 'head' of the status line and all that follows,
            'body' of the body alone.
    """

    text: str | None = ''
    status: int = 200
    headers: dict = dataclasses.field(default_factory=dict)
    raw: bytes | None = None
    chances: dict | None = None
    wait: float = 0.0
    drop: str = ''
    drip: tuple[str, float] = ('', 0.0)

    @property
    def body(self):
        if self.raw is not None:
            return self.raw
        if self.status != 200:
            return json.dumps({'error': {'message': self.text}}).encode()
        choice = {'message': {'role': 'assistant', 'content': self.text}}
        if self.chances is not None:
            top = [
                {'token': token, 'logprob': math.log(p)}
                for token, p in self.chances.items()
            ]
            first = {**top[0], 'top_logprobs': top}
            choice['logprobs'] = {'content': [first]}
        return json.dumps({'choices': [choice]}).encode()


class Server:
    """The server, as seen by a test.

    Attributes:
        url: its base address.
        requests: the body of each, in the order in which they came.
        headers: of each.
        paths: of each, with the query.
    """

    def __init__(self, answer):
        self._answer = answer
        self.url, self.requests, self.headers, self.paths = '', [], [], []
        self._lock = threading.Lock()

    @property
    def questions(self):
        """The first message of each request."""
        return [body['messages'][0]['content'] for body in self.requests]

    def reply(self, path, headers, body):
        if path.partition('?')[0] != '/v1/chat/completions':
            return Reply(f'nothing at {path}', 404)
        with self._lock:
            self.requests.append(body)
            self.headers.append(headers)
            self.paths.append(path)
            number = len(self.requests)
        return self._answer(body, number)


@contextlib.contextmanager
def serve(answer):
    """A server; `answer(body, number of the request)` returns each `Reply`."""
    server = Server(answer)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def do_POST(self):
            size = int(self.headers['content-length'])
            body = json.loads(self.rfile.read(size))
            reply = server.reply(self.path, dict(self.headers), body)
            time.sleep(reply.wait)
            self.close_connection = bool(reply.drop)
            if reply.drop == 'at once':
                return
            content = reply.body
            if reply.drip[0] == 'head':
                head = f'HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n\r\n'
                self.drip(head.encode() + content, reply.drip[1])
                return
            self.send_response(reply.status)
            self.send_header('Content-Length', str(len(content)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            cut = len(content) // 2 if reply.drop == 'midway' else len(content)
            if reply.drip[0] == 'body':
                self.drip(content, reply.drip[1])
                return
            with contextlib.suppress(OSError):  # nobody may be waiting any more
                self.wfile.write(content[:cut])

        def drip(self, content, seconds):
            with contextlib.suppress(OSError):
                for byte in content:
                    self.wfile.write(bytes([byte]))
                    time.sleep(seconds)

        def log_message(self, *args):
            pass

    class Quiet(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request, client_address):
            pass

    with Quiet(('127.0.0.1', 0), Handler) as httpd:
        server.url = f'http://127.0.0.1:{httpd.server_port}/v1'
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            httpd.shutdown()
            thread.join()


def longer(body, number=0):
    """A judge that prefers the longer answer of the template `brief`."""
    asked = body['messages'][0]['content']
    first, second = re.search(r'\n1: (.*)\n2: (.*)\nBetter: $', asked, re.S).groups()
    return Reply('1' if len(first) > len(second) else '2')
