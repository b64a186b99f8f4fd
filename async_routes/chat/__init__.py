"""Ask the documentation: answers with their sources, as JSON or as a stream, and a conversation that is remembered.

Without a model the answer is made of quoted passages; with ``CHAT_BASE_URL``, ``CHAT_MODEL`` and ``CHAT_API_KEY`` any
server that speaks OpenAI's chat completions writes it.
"""
