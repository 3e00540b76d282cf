"""python3 jinja_peer.py TEMPLATE CASES: what Jinja2 writes, set up as transformers does it; lines
as doppler_render prints them."""
import json
import sys
from datetime import datetime

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(Extension):
    """{% generation %} marks what the model says; the text is that of its body."""

    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(["name:endgeneration"], drop_needle=True)


def to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys)


def refuse(message):
    raise jinja2.exceptions.TemplateError(message)


def main():
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                                extensions=[Generation, loopcontrols])
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    with open(sys.argv[1], encoding="utf8", newline="") as file:
        template = environment.from_string(file.read())
    with open(sys.argv[2], encoding="utf8") as file:
        for line in file:
            case = json.loads(line)
            case.update(case.pop("variables"))
            case.pop("label")
            try:
                answer = {"text": template.render(documents=None, **case)}
            except Exception as error:  # whatever the template does
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer))


main()
