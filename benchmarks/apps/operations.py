"""FastAPI operations as native routes, and the same router in an app of its own."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI
from pydantic import BaseModel

router = APIRouter()


class Item(BaseModel):
    id: int
    name: str
    tags: list[str]


async def page(page: int = 1, size: int = 20) -> tuple[int, int]:
    return page, size


@router.get("/operations/first")
async def first() -> dict[str, bool]:
    return {"first": True}


@router.get("/operations/{id}")
async def operation(id: int, window: Annotated[tuple[int, int], Depends(page)], q: str = "") -> Item:
    return Item(id=id, name=q, tags=[str(number) for number in window])


def bare() -> FastAPI:
    app = FastAPI()
    app.include_router(router)
    return app
