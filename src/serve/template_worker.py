"""Renders chat templates for the server: reads requests and writes texts over pipes.

A message is four bytes of length, big-endian, then UTF-8 JSON. Requests: {"template", "kwargs"};
answers: {"text"}, {"error", "raised"} or, to a request with "inspect", {"parts": true|false}.
The environment is set up as the transformers library sets it up for apply_chat_template.
"""

import datetime
import json
import resource
import struct
import sys


def limit(seconds, bytes_):
    resource.setrlimit(resource.RLIMIT_AS, (bytes_, bytes_))
    resource.setrlimit(resource.RLIMIT_CPU, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    del seconds  # the server watches the clock


def make_environment():
    import jinja2
    import jinja2.ext
    import jinja2.nodes
    import jinja2.sandbox

    class Generation(jinja2.ext.Extension):
        """{% generation %}…{% endgeneration %}: marks the assistant's part; the text is as it is."""

        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            call = self.call_method("render")
            return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

        @staticmethod
        def render(caller):
            return caller()

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                          sort_keys=sort_keys)

    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return env


def wants_parts(env, source):
    """Whether the template goes through a message's content as a list of parts."""
    import jinja2.nodes as n

    tree = env.parse(source)
    names = set()  # variables that hold a content

    def is_content(node):
        if isinstance(node, n.Filter):
            return is_content(node.node)
        if isinstance(node, n.Getitem):
            return isinstance(node.arg, n.Const) and node.arg.value == "content"
        if isinstance(node, n.Getattr):
            return node.attr == "content"
        return isinstance(node, n.Name) and node.name in names

    for assign in tree.find_all(n.Assign):
        if isinstance(assign.target, n.Name) and is_content(assign.node):
            names.add(assign.target.name)
    return any(is_content(loop.iter) for loop in tree.find_all(n.For))


def answer(env, cache, request):
    source = request["template"]
    if request.get("inspect"):
        return {"parts": wants_parts(env, source)}
    if source not in cache:
        if len(cache) > 16:
            cache.clear()
        cache[source] = env.from_string(source)
    return {"text": cache[source].render(**request["kwargs"])}


def read_exactly(stream, size):
    data = stream.read(size)
    return data if len(data) == size else None


def main():
    limit(0, int(sys.argv[1]))
    try:
        env = make_environment()
        ready = {"ready": True}
    except ImportError as e:
        env, ready = None, {"ready": False, "error": str(e)}
    cache = {}
    source, sink = sys.stdin.buffer, sys.stdout.buffer

    def write(message):
        data = json.dumps(message).encode()
        sink.write(struct.pack(">I", len(data)) + data)
        sink.flush()

    write(ready)
    while env is not None:
        head = read_exactly(source, 4)
        if head is None:
            return
        body = read_exactly(source, struct.unpack(">I", head)[0])
        if body is None:
            return
        try:
            import jinja2.exceptions
            write(answer(env, cache, json.loads(body)))
        except jinja2.exceptions.TemplateError as e:
            write({"error": e.message or type(e).__name__, "raised": True})
        except MemoryError:
            write({"error": "the template uses too much memory", "raised": False})
        except RecursionError:
            write({"error": "the template recurses too deep", "raised": False})
        except Exception as e:  # what a template can provoke: wrong types, missing values
            write({"error": f"{type(e).__name__}: {e}", "raised": True})


main()
