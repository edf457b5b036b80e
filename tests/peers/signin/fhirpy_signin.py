"""fhirpy signs in by SMART Backend Services and searches: python fhirpy_signin.py BASE CLIENT KID KEY.pem

It has no sign-in of its own, so the assertion is signed here, by joserfc. It prints what happened as one JSON
object.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from pathlib import Path

import requests
from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import AuthorizationError
from joserfc import jwt
from joserfc.jwk import ECKey

base, name, kid, file = sys.argv[1:]
place = requests.get(f"{base}/.well-known/smart-configuration", timeout=10).json()["token_endpoint"]
key = ECKey.import_key(Path(file).read_text())
claims = {"iss": name, "sub": name, "aud": place, "jti": str(uuid.uuid4()), "exp": int(time.time()) + 240}
form = {
    "grant_type": "client_credentials",
    "scope": "system/ServiceRequest.rs",
    "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    "client_assertion": jwt.encode({"alg": "ES384", "kid": kid}, claims, key, algorithms=["ES384"]),
}
token = requests.post(place, data=form, timeout=10).json()["access_token"]
refused = 0
try:
    SyncFHIRClient(base).resources("ServiceRequest").fetch()
except AuthorizationError as error:
    refused = 401 if "login" in str(error) else 403
client = SyncFHIRClient(base, authorization=f"Bearer {token}")
found = [one.id for one in client.resources("ServiceRequest").fetch()]
print(json.dumps({"refused": refused, "found": found}))
