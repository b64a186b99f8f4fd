"""An agent that keeps a checkpoint of each conversation, so that it can be picked up again."""

import asyncio
import os

import aiosqlite
from flask import Flask, request
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, MessagesState, StateGraph

app = Flask(__name__)
_agent = None
_building = asyncio.Lock()


class ScriptedModel(GenericFakeChatModel):
    """Stands for the model that is paid for: squares the number it is told."""

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        self.messages = iter([AIMessage(str(int(messages[-1].content) ** 2))])
        return super()._generate(messages, stop, run_manager, **kwargs)


async def agent():
    global _agent
    async with _building:
        if _agent is None:
            connection = await aiosqlite.connect(os.environ["CHECKPOINTS"], timeout=60)
            saver = AsyncSqliteSaver(connection)
            await saver.setup()
            graph = StateGraph(MessagesState)
            graph.add_node("model", call_model)
            graph.add_edge(START, "model")
            _agent = graph.compile(checkpointer=saver)
    return _agent


async def call_model(state):
    return {"messages": [await ScriptedModel(messages=iter([])).ainvoke(state["messages"])]}


@app.get("/ask")
async def ask():
    n = request.args["n"]
    graph, conversation = await agent(), {"configurable": {"thread_id": f"{os.getpid()}-{n}"}}
    await graph.ainvoke({"messages": [("user", n)]}, conversation)
    saved = await graph.aget_state(conversation)
    return {"n": int(saved.values["messages"][-2].content), "answer": int(saved.values["messages"][-1].content)}
