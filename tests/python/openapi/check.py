"""Holds docs/api/openapi.json against its own standard and against a running server.

Usage: check.py DOCUMENT SERVER_URL TOKEN [gateway]. With `gateway` only what a gateway serves. Otherwise every documented GET is asked with every value of every parameter that has a list of them; every
answer must be valid by its schema; wrong parameters must give the documented error. Prints what it did, or what is wrong.
"""

import datetime
import json
import pathlib
import sys
import urllib.error
import urllib.parse
import urllib.request

import jsonschema

HERE = pathlib.Path(__file__).parent
TIMEOUT_S = 120


class Server:
    def __init__(self, url, token):
        self.url, self.token, self.asked = url, token, 0

    def ask(self, path, query=(), method="GET", body=None, token=None):
        """Status, content type and body."""
        address = self.url + path + ("?" + urllib.parse.urlencode(query) if query else "")
        request = urllib.request.Request(address, data=body, method=method)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        self.asked += 1
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                return answer.status, answer.headers.get_content_type(), answer.read()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.headers.get_content_type(), answer.read()


class Document:
    def __init__(self, path):
        self.document = json.loads(pathlib.Path(path).read_text("utf-8"))
        standard = json.loads((HERE / "schema-3.1-2022-10-07.json").read_text("utf-8"))
        jsonschema.Draft202012Validator(standard).validate(self.document)
        for schema in self.document["components"]["schemas"].values():
            jsonschema.Draft202012Validator.check_schema(schema)
        self.statuses = set()

    def operations(self, method):
        for path, item in self.document["paths"].items():
            if method in item:
                yield path, item[method]

    def validate(self, schema, value, place):
        whole = {**schema, "components": self.document["components"]}
        errors = sorted(jsonschema.Draft202012Validator(whole).iter_errors(value), key=lambda error: list(error.path))
        if errors:
            found = "; ".join(f"{list(error.path)}: {error.message[:300]}" for error in errors[:3])
            raise SystemExit(f"{place}: {found}")

    def check(self, operation, answer, place, expected):
        """The answer has one of the expected statuses and is what the document says of it."""
        status, content_type, body = answer
        if status not in expected:
            raise SystemExit(f"{place}: status {status}, expected one of {expected}: {body[:300]}")
        response = operation["responses"].get(str(status))
        if response is None:
            raise SystemExit(f"{place}: status {status} is not documented")
        self.statuses.add((operation["operationId"], status))
        content = response["content"].get(content_type)
        if content is None:
            raise SystemExit(f"{place}: {content_type} is not documented")
        value = json.loads(body) if content_type == "application/json" else body.decode("utf-8")
        self.validate(content["schema"], value, place)
        return value

    def check_examples(self):
        examples = 0
        for item in self.document["paths"].values():
            for operation in item.values():
                for status, response in operation["responses"].items():
                    for content in response["content"].values():
                        if "example" in content:
                            self.validate(content["schema"], content["example"], f"{operation['operationId']} {status} example")
                            examples += 1
        return examples


# Served where a gateway runs; an ingest without one says so.
OF_A_GATEWAY = ["/api/v1/refused", "/api/v1/devices"]


def check_gateway(document, server):
    """The routes of a gateway, of its own or beside ingest; something must have been refused and stated."""
    for path in OF_A_GATEWAY:
        value = document.check(document.document["paths"][path]["get"], server.ask(path), f"GET {path}", [200])
        assert value, f"GET {path}: nothing to check"


def filled(path, plant):
    return path.replace("{plant}", plant)


def variants(operation, plant, yesterday):
    """Queries: every value of every parameter with a list of them, the others left out or as they must be; and a whole day."""
    queries = [parameter for parameter in operation.get("parameters", []) if parameter["in"] == "query"]
    must = {parameter["name"]: plant for parameter in queries if parameter["required"]}
    yield must
    if any(parameter["name"] == "from" for parameter in queries):
        yield {**must, **yesterday}
    for parameter in queries:
        for value in parameter["schema"].get("enum", []):
            if parameter["name"] != "scope" or value == "fleet":
                yield {**must, parameter["name"]: value}


def check_gets(document, server, plants, yesterday):
    known = {}
    for path, operation in document.operations("get"):
        for plant in plants if "{plant}" in path or any(p["name"] == "plant" for p in operation.get("parameters", [])) else plants[:1]:
            for query in variants(operation, plant, yesterday):
                place = f"GET {filled(path, plant)} {query}"
                expected = [404] if path in OF_A_GATEWAY else [200]
                value = document.check(operation, server.ask(filled(path, plant), query), place, expected)
                known.setdefault(operation["operationId"], []).append(value)
    return known


def check_mistakes(document, server, plant):
    """Each parameter wrong by itself, and what is not registered."""
    for path, operation in document.operations("get"):
        queries = [parameter for parameter in operation.get("parameters", []) if parameter["in"] == "query"]
        must = {parameter["name"]: plant for parameter in queries if parameter["required"]}
        if not queries:
            continue
        wrong = [{**must, "nonsense": "1"}, {**must, "from": "yesterday"}, {**must, "from": "2026-01-02", "to": "2026-01-01"}]
        wrong += [{**must, parameter["name"]: "nonsense"} for parameter in queries if "enum" in parameter["schema"]]
        wrong += [{**must, "from": "2001-01-01", "to": "2099-01-01"}]
        wrong += [{}] if must else []
        for query in wrong:
            place = f"GET {path} {query}"
            error = document.check(operation, server.ask(filled(path, plant), query), place, [400])["error"]
            if error["code"] != "bad_parameter" or not error.get("allowed") or error.get("key") not in {*query, *must, "to", "step"}:
                raise SystemExit(f"{place}: {error}")
        if "404" in operation["responses"]:
            nobody = {**{name: "nobody" for name in must}}
            if any(parameter["name"] == "scope" for parameter in queries):
                nobody = {"scope": "owner", "id": "nobody"}
            if any(parameter["name"] == "device" for parameter in queries):
                nobody = {"device": "nobody-01"}
            document.check(operation, server.ask(filled(path, "nobody"), nobody), f"GET {path} of nobody", [404])
    status, _, body = server.ask("/api/v1/nothing")
    document.validate({"$ref": "#/components/schemas/Error"}, json.loads(body), "an unknown address")
    assert status == 404, status


def check_scopes(document, server):
    """The balances of everything that the fleet is made of."""
    path = "/api/v1/imbalances/energy"
    operation = document.document["paths"][path]["get"]
    plants = json.loads(server.ask("/api/v1/plants")[2])["plants"]
    for scope, key in [("district", lambda plant: plant["district"]["id"]), ("owner", lambda plant: plant["owner"]["id"]), ("site", lambda plant: plant["site_id"])]:
        for one in {key(plant) for plant in plants}:
            query = {"scope": scope, "id": one}
            document.check(operation, server.ask(path, query), f"GET {path} {query}", [200])


def check_posts(document, server, plant):
    """Uploads and deliveries: with and without the token, right and wrong."""
    csv = f"plant,start,minutes,scheduled_kwh\n{plant},2026-01-05 10:00,60,4.5\n".encode()
    for path, operation in document.operations("post"):
        ask = lambda body, token: server.ask(path, method="POST", body=body, token=token)
        document.check(operation, ask(csv, None), f"POST {path} without a token", [401])
        document.check(operation, ask(csv, "not-the-token-of-ingest"), f"POST {path} with another token", [401])
        document.check(operation, ask(b"\x00nonsense", server.token), f"POST {path} of nonsense", [400])
    path = "/api/v1/schedules"
    operation = document.document["paths"][path]["post"]
    taken = document.check(operation, server.ask(path, method="POST", body=csv, token=server.token), f"POST {path}", [200])
    assert taken == {"plants": [plant], "periods": 1}, taken
    query = {"plant": plant, "period": "60m", "from": "2026-01-05", "to": "2026-01-06"}
    path = "/api/v1/imbalances/settlement"
    settled = document.check(document.document["paths"][path]["get"], server.ask(path, query), f"GET {path} {query}", [200])
    assert [period["scheduled_wh"] for period in settled["periods"]].count(4500) == 1, settled


def main():
    document, server = Document(sys.argv[1]), Server(sys.argv[2], sys.argv[3])
    if sys.argv[4:] == ["gateway"]:
        return check_gateway(document, server)
    examples = document.check_examples()
    present = json.loads(server.ask("/api/v1/plants")[2])
    plants = [plant["id"] for plant in present["plants"]]
    midnight = datetime.datetime.fromtimestamp(present["day_start_ms"] / 1000, datetime.timezone.utc)
    instant = lambda days: (midnight - datetime.timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    yesterday = {"from": instant(1), "to": instant(0)}
    served = json.loads(server.ask("/api/v1/openapi.json")[2])
    assert served == document.document, "the server describes itself otherwise"
    known = check_gets(document, server, plants, yesterday)
    check_mistakes(document, server, plants[0])
    check_scopes(document, server)
    check_posts(document, server, plants[0])
    # What was checked must have been there to be checked.
    some = lambda operation, test: any(test(value) for value in known[operation])
    assert some("expectation", lambda value: any(period["method"] == "measured" for period in value["periods"]))
    assert some("expectation", lambda value: any(period["method"] == "neighbours" for period in value["periods"]))
    assert some("performance", lambda value: any(period["performance_ratio"] is not None for period in value["periods"]))
    assert some("energyImbalance", lambda value: any(period["netting_benefit_wh"] for period in value["periods"]))
    assert some("phaseImbalance", lambda value: any(quarter["voltage_unbalance_pct"] for meter in value["meters"] for quarter in meter["quarters"]))
    assert some("stringImbalance", lambda value: any(one["imbalance_pct"] for meter in value["meters"] for quarter in meter["quarters"] for one in quarter["inputs"]))
    assert some("settlementImbalance", lambda value: value["summary"]["mae_w"] is not None)
    print(f"{len(document.document['paths'])} paths, {examples} examples, {server.asked} requests, {len(document.statuses)} kinds of answers")


main()
