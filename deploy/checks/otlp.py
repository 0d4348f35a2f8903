"""A receiver of traces (OTLP over HTTP, protobuf), and what a service has to have sent to it.

Usage: otlp.py receive FOLDER                       keeps every batch in FOLDER
       otlp.py silence FOLDER                       takes connections and says nothing
       otlp.py check FOLDER PLAN TOKEN PRINCIPAL    looks at the batches

Both servers write where they listen to FOLDER/address. PLAN is the program's, as JSON.
"""

import itertools
import json
import re
import socket
import sys
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

CLIENT = bytes.fromhex("4bf92f3577b34da6a3ce929d0e0e4736")
CLIENT_SPAN = bytes.fromhex("00f067aa0ba902b7")
STRANGER = bytes.fromhex("1" * 32)


def tell(folder: Path, address: tuple[str, int]) -> None:
    part = folder / "address.part"
    part.write_text(f"{address[0]}:{address[1]}")
    part.rename(folder / "address")


def receive(folder: Path) -> None:
    class Receiver(BaseHTTPRequestHandler):
        batches = 0

        def do_POST(self) -> None:
            assert self.path == "/v1/traces", self.path
            assert self.headers["content-type"] == "application/x-protobuf"
            assert self.headers["x-check"] == "seven"
            body = self.rfile.read(int(self.headers["content-length"]))
            ExportTraceServiceRequest.FromString(body)
            (folder / f"{Receiver.batches:04}.batch").write_bytes(body)
            Receiver.batches += 1
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    tell(folder, server.server_address)
    server.serve_forever()


def silence(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        tell(folder, server.getsockname())
        time.sleep(3600)


def attributes(of: object) -> dict[str, object]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in of.attributes}


class Traces:
    """All spans that were sent, none of which tells whose it is."""

    def __init__(self, folder: Path, secrets: list[str]) -> None:
        self.spans: list[Span] = []
        for batch in sorted(folder.glob("*.batch")):
            body = batch.read_bytes()
            for secret in secrets:
                assert not re.search(secret.encode(), body), f"{secret} is in a batch"
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                own = attributes(resource.resource)
                assert own["service.name"] == "checked" and own["service.version"], own
                self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        self.by_id = {span.span_id: span for span in self.spans}
        assert len(self.by_id) == len(self.spans)
        # Lines of the log would be events.
        assert not any(span.events or span.links for span in self.spans)

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def within(self, span: Span, name: str) -> bool:
        """Whether a span has a parent of this name, and its time in that one's."""
        parent = self.by_id[span.parent_span_id]
        begin, end = parent.start_time_unix_nano, parent.end_time_unix_nano
        inside = begin <= span.start_time_unix_nano <= span.end_time_unix_nano <= end
        return parent.name == name and parent.trace_id == span.trace_id and inside


def seconds_of(span: Span) -> float:
    return (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9


def check_requests(traces: Traces) -> None:
    known = {"http.request.method", "http.route", "http.response.status_code", "error.type"}
    requests = [span for span in traces.spans if span.kind == Span.SPAN_KIND_SERVER]
    for request in requests:
        fields = attributes(request)
        assert request.name == f"{fields['http.request.method']} {fields['http.route']}", request
        assert set(fields) <= known, fields
        assert fields["http.response.status_code"] in (200, 201, 202, 204, 401, 404), fields
    assert len(traces.named("POST /v1/keys")) == 1
    # A client's trace goes on; a stranger's does not.
    (joined,) = [span for span in traces.spans if span.trace_id == CLIENT]
    assert joined.parent_span_id == CLIENT_SPAN and joined.name == "GET /v1/models"
    assert not any(span.trace_id == STRANGER for span in traces.spans)
    (refused,) = [span for span in requests if attributes(span).get("error.type") == "unauthorized"]
    assert attributes(refused)["http.response.status_code"] == 401
    assert refused.status.code == Status.STATUS_CODE_UNSET
    # All others begin their own traces.
    roots = [span for span in requests if span is not joined]
    assert not any(root.parent_span_id for root in roots)
    assert len({root.trace_id for root in roots}) == len(roots)


def check_keys(traces: Traces) -> None:
    """A chunk is checked in its request, and with the last one keys are read."""
    chunks = traces.named("check chunk")
    assert len(chunks) > 1 and all(traces.within(chunk, "PATCH /v1/keys/{keys}") for chunk in chunks)
    (loaded,) = traces.named("load keys")
    assert traces.within(loaded, "PATCH /v1/keys/{keys}")
    size = attributes(loaded)["fhec.bytes"]
    assert sum(attributes(chunk)["fhec.bytes"] for chunk in chunks) == size > 100_000_000


def check_evaluation(traces: Traces, plan: dict) -> None:
    """It belongs to the request that sent the image, which was answered before its end."""
    (evaluation,) = traces.named("evaluation")
    sent = traces.by_id[evaluation.parent_span_id]
    assert sent.name == "POST /v1/models/{model}/jobs" and sent.trace_id == evaluation.trace_id
    fields = attributes(evaluation)
    seconds = fields.pop("fhec.seconds")
    predicted = plan["predicted_seconds"]
    assert fields == {"fhec.model": "mnist", "fhec.predicted_seconds": predicted, "fhec.outcome": "done"}, (
        fields
    )
    taken = seconds_of(evaluation)
    assert 0 < seconds <= taken, (seconds, taken)
    # Its layers are those of the plan, one after the other.
    layers = [span for span in traces.spans if span.name.startswith("layer ")]
    layers.sort(key=lambda span: span.start_time_unix_nano)
    assert all(traces.within(layer, "evaluation") for layer in layers)
    for one, next_one in itertools.pairwise(layers):
        assert one.end_time_unix_nano <= next_one.start_time_unix_nano
    names = [attributes(layer)["fhec.layer"] for layer in layers]
    assert set(names) == {layer["name"] for layer in plan["layers"]} and len(names) > 3, names
    inside = sum(map(seconds_of, layers))
    assert 0.9 * seconds < inside <= taken, (inside, seconds, taken)


def check(folder: Path, plan: dict, token: str, principal: str) -> None:
    # Digests and ids of keys and jobs are hexadecimal digits; ids of traces and spans are bytes.
    traces = Traces(folder, [token, principal, "[0-9a-f]{32}"])
    print(Counter(re.sub("layer .*", "layer ...", span.name) for span in traces.spans))
    check_requests(traces)
    check_keys(traces)
    check_evaluation(traces, plan)


match sys.argv[1]:
    case "receive":
        receive(Path(sys.argv[2]))
    case "silence":
        silence(Path(sys.argv[2]))
    case "check":
        plan = json.loads(Path(sys.argv[3]).read_text())
        check(Path(sys.argv[2]), plan, *sys.argv[4:])
