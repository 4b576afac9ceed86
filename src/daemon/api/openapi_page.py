#!/usr/bin/env python3
"""Makes the page that shows the OpenAPI document, without any script, and the policy under which it is served.

Usage: openapi_page.py openapi.json PAGE.html POLICY.h"""
import base64
import hashlib
import html
import json
import re
import sys

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; }
h2 { margin-top: 2.5rem; }
code, pre { font: 0.875rem/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
details { border-top: 1px solid #8886; padding: 0.4rem 0; }
summary { cursor: pointer; }
summary b { display: inline-block; min-width: 4.5rem; }
summary span { opacity: 0.75; }
dl { margin-left: 1rem; } dd { margin-left: 1.5rem; }
pre { background: #8881; padding: 0.5rem; overflow-x: auto; }
"""


def text(value):
    """Escaped, with `code` in backquotes."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(str(value)))


def kind(schema):
    """A schema in a few words, with links to the named ones."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f'<a href="#schema-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(map(kind, schema["anyOf"]))
    if "const" in schema or "enum" in schema:
        values = [schema["const"]] if "const" in schema else schema["enum"]
        return " | ".join(f"<code>{html.escape(json.dumps(v))}</code>" for v in values)
    types = schema.get("type", "anything")
    types = types if isinstance(types, list) else [types]
    if "array" in types:
        return f"list of {kind(schema['items'])}"
    return html.escape(" or ".join(types))


def members(schema):
    required = schema.get("required", [])
    rows = []
    for name, value in schema.get("properties", {}).items():
        note = f": {text(value['description'])}" if "description" in value else ""
        rows.append(f"<dt><code>{html.escape(name)}</code>{'' if name in required else ' (optional)'}</dt><dd>{kind(value)}{note}"
                    + (members(value) if "properties" in value else "") + "</dd>")
    return f"<dl>{''.join(rows)}</dl>" if rows else ""


def content(holder):
    return ", ".join(f"<code>{html.escape(media)}</code>" + (f": {kind(value['schema'])}" if "schema" in value else "")
                     + (f", each event {kind(value['x-event'])}" if "x-event" in value else "")
                     for media, value in holder.get("content", {}).items())


def operation(document, method, path, item):
    rows = []
    for parameter in item.get("parameters", []):
        if "$ref" in parameter:
            parameter = document["components"]["parameters"][parameter["$ref"].rsplit("/", 1)[1]]
        note = f": {text(parameter['description'])}" if "description" in parameter else ""
        rows.append(f"<dt><code>{html.escape(parameter['name'])}</code> ({parameter['in']})</dt><dd>{kind(parameter['schema'])}{note}</dd>")
    if "requestBody" in item:
        rows.append(f"<dt>body</dt><dd>{content(item['requestBody'])}</dd>")
    for status, answer in item["responses"].items():
        if "$ref" in answer:
            answer = document["components"]["responses"][answer["$ref"].rsplit("/", 1)[1]]
        what = content(answer)
        rows.append(f"<dt>{status}</dt><dd>{text(answer['description'])} {what}</dd>")
    note = f"<p>{text(item['description'])}</p>" if "description" in item else ""
    return (f'<details id="{item["operationId"]}"><summary><b>{method.upper()}</b> <code>{html.escape(path)}</code>'
            f"<br><span>{text(item['summary'])}</span></summary>{note}<dl>{''.join(rows)}</dl></details>")


def page(document):
    info = document["info"]
    parts = [f"<h1>{text(info['title'])} HTTP API</h1><p>{text(info['description'])}</p>",
             '<p><a href="/v1/openapi.json">openapi.json</a></p>']
    for tag in document["tags"]:
        parts.append(f"<h2>{text(tag['name'])}</h2><p>{text(tag['description'])}</p>")
        parts += [operation(document, method, path, item) for path, methods in document["paths"].items()
                  for method, item in methods.items() if item["tags"] == [tag["name"]]]
    parts.append("<h2>schemas</h2>")
    for name, schema in document["components"]["schemas"].items():
        note = f"<p>{text(schema['description'])}</p>" if "description" in schema else ""
        parts.append(f'<details id="schema-{name}"><summary><code>{name}</code></summary>{note}{members(schema)}</details>')
    return ('<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<title>{text(info['title'])} HTTP API</title><style>{STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n")


def main():
    with open(sys.argv[1], encoding="utf-8") as source:
        document = json.load(source)
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        out.write(page(document))
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    with open(sys.argv[3], "w", encoding="ascii") as out:
        out.write("/* Made by openapi_page.py. */\n#pragma once\n\n#define OPENAPI_PAGE_POLICY \\\n"
                  f"    \"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\"\n")


main()
