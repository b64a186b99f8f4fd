"""Documents in Firestore, over grpc.aio."""

from flask import Flask, request
from google.cloud.firestore import AsyncClient

app = Flask(__name__)
database = AsyncClient(project="local")  # FIRESTORE_EMULATOR_HOST says where


@app.get("/ask")
async def ask():
    n = request.args["n"]
    document = database.collection("numbers").document(n)
    await document.set({"square": int(n) ** 2})
    found = await document.get()
    return {"n": int(found.id), "answer": found.get("square")}
