"""Carries a ciphertext to a service with an unmodified `tritonclient`, and its answer back.

Usage: triton.py ADDRESS TOKEN KEYS IMAGE ANSWER
"""

import sys

import numpy as np
import tritonclient.http as triton

address, token, keys, image, answer = sys.argv[1:]
headers = {"authorization": f"Bearer {token}"}
client = triton.InferenceServerClient(address, network_timeout=120.0)
assert client.is_server_live(headers=headers) and client.is_server_ready(headers=headers)
assert client.is_model_ready("mnist", headers=headers)
assert client.get_server_metadata(headers=headers)["name"] == "fhec"
model = client.get_model_metadata("mnist", headers=headers)
(tensor,) = model["inputs"]
with open(image, "rb") as file:
    ciphertext = file.read()
sent = triton.InferInput(tensor["name"], tensor["shape"], tensor["datatype"])
sent.set_data_from_numpy(np.array([ciphertext], dtype=np.object_), binary_data=True)
wanted = triton.InferRequestedOutput(model["outputs"][0]["name"], binary_data=True)
result = client.infer("mnist", [sent], outputs=[wanted], headers=headers, request_id="seven", parameters={"keys": keys})
assert result.get_response()["id"] == "seven"
(received,) = result.as_numpy(model["outputs"][0]["name"])
with open(answer, "wb") as file:
    file.write(received)
print(f"{len(ciphertext)} bytes there, {len(received)} bytes back")
# What is refused is an error of the client's own kind, with our words.
try:
    client.infer("mnist", [sent], headers=headers, parameters={"keys": "0" * 64})
except triton.InferenceServerException as error:
    assert error.status() == "404" and "belongs to you" in error.message(), error
    assert "decoding" not in error.message(), error
    print(f"refused: {error}")
else:
    raise AssertionError("keys that are not there were taken")
