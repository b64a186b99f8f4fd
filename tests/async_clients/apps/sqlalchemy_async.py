"""SQLAlchemy's async engine and sessions at module level, as its tutorial has them."""

import os

from flask import Flask, request
from sqlalchemy import text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

app = Flask(__name__)
engine = create_async_engine(os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://"), pool_size=5)
Session = async_sessionmaker(engine, expire_on_commit=False)


@app.get("/ask")
async def ask():
    n = int(request.args["n"])
    async with Session() as session, session.begin():
        answer = await session.scalar(text("SELECT CAST(:n AS bigint) * CAST(:n AS bigint)"), {"n": n})
    return {"n": n, "answer": answer}
