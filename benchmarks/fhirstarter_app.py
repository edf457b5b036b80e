"""The reference for creates: a fhirstarter app with one route that validates a CarePlan and stores nothing.

It runs on the Python of fhirstarter's own environment (see `references.py`), since its pins differ from ours.
"""

import os
import socket
from uuid import uuid4

os.environ["FHIR_SEQUENCE"] = "R4B"  # it does not know R4

import uvicorn
from fhir.resources.R4B.careplan import CarePlan
from fhirstarter import FHIRProvider, FHIRStarter, InteractionContext

provider = FHIRProvider()


@provider.create(CarePlan)
async def create(context: InteractionContext, resource: CarePlan) -> str:
    """Accept it: by then fhirstarter has parsed and validated the body."""
    return str(uuid4())


app = FHIRStarter(title="reference")
app.add_providers(provider)

if __name__ == "__main__":
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(app, loop="uvloop", http="httptools", log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])
