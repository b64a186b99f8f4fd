// The chat page: asks over a stream, takes it up again when the connection breaks, remembers who asks.
(function () {
  "use strict";
  var chat = document.querySelector("[data-chat]");
  var list = chat.querySelector("[data-turns]");
  var form = chat.querySelector("[data-ask]");
  var api = chat.dataset.chat;
  var RETRIES = 5;

  // Whoever knows this id can read the conversation, so it is one that nobody can guess.
  function userId() {
    var bytes, made = null;
    try { made = localStorage.getItem("chat-user"); } catch (error) { /* storage is switched off */ }
    if (made) return made;
    bytes = crypto.getRandomValues(new Uint8Array(16));
    made = Array.from(bytes, function (byte) { return byte.toString(16).padStart(2, "0"); }).join("");
    try { localStorage.setItem("chat-user", made); } catch (error) { /* it holds until the next page */ }
    return made;
  }
  var user = userId();

  function element(name, className, text) {
    var made = document.createElement(name);
    if (className) made.className = className;
    if (text) made.textContent = text;
    return made;
  }

  function card(question) {
    var item = element("li", "card");
    var parts = { item: item, told: element("p", "told"), note: element("p", "note"), sources: element("ol", "sources") };
    parts.note.hidden = true;
    item.append(element("p", "asked", question), parts.told, parts.note, parts.sources);
    list.append(item);
    item.scrollIntoView({ block: "nearest" });
    return parts;
  }

  function showSources(parts, sources) {
    parts.sources.replaceChildren.apply(parts.sources, sources.map(function (source) {
      var line = element("li");
      var link = element("a", "", "[" + source.number + "] " + source.title);
      link.href = source.url;
      line.append(link, " ", element("small", "", source.package + " " + source.version));
      return line;
    }));
  }

  function showNote(parts, note) {
    parts.note.hidden = !note;
    parts.note.textContent = note || "";
  }

  function showTurn(parts, turn) {
    parts.told.textContent = turn.answer;
    showNote(parts, turn.note);
    showSources(parts, turn.sources);
  }

  var shown = {
    sources: function (parts, data) { parts.told.textContent = ""; showSources(parts, data.sources); },
    token: function (parts, data) { parts.told.textContent += data.text; },
    replace: function (parts, data) { parts.told.textContent = ""; showNote(parts, data.note); },
    done: showTurn
  };

  // One connection: calls back for each event, and resolves to whether "done" was among them.
  async function listen(question, state, parts) {
    var headers = { "Content-Type": "application/json", "Accept": "text/event-stream" };
    if (state.last) headers["Last-Event-ID"] = state.last;
    var answer = await fetch(api + "/stream", {
      method: "POST", headers: headers, body: JSON.stringify({ user_id: user, question: question })
    });
    if (!answer.ok) {
      var problem = await answer.json().catch(function () { return null; });
      state.refused = problem && problem.error ? problem.error.message : "The answer is " + answer.status + ".";
      return;
    }
    var reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    var rest = "";
    for (;;) {
      var read = await reader.read();
      if (read.done) return;
      rest += read.value.replace(/\r/g, "");
      var blocks = rest.split("\n\n");
      rest = blocks.pop();
      blocks.forEach(function (block) { take(block, state, parts); });
    }
  }

  function take(block, state, parts) {
    var fields = {};
    block.split("\n").forEach(function (line) {
      var at = line.indexOf(": ");
      if (at > 0) fields[line.slice(0, at)] = line.slice(at + 2);
    });
    if (!fields.event || !shown[fields.event]) return;
    state.last = fields.id;
    shown[fields.event](parts, JSON.parse(fields.data));
    state.done = fields.event === "done";
  }

  async function ask(question) {
    var parts = card(question);
    var state = { last: "", done: false, refused: "" };
    for (var attempt = 0; attempt < RETRIES && !state.done && !state.refused; attempt += 1) {
      if (attempt) await new Promise(function (resolve) { setTimeout(resolve, 500 * attempt); });
      await listen(question, state, parts).catch(function () { /* the connection broke: once more, from there */ });
    }
    if (!state.done) showNote(parts, state.refused || "The connection broke. Please ask again.");
  }

  form.addEventListener("submit", async function (event) {
    event.preventDefault();
    var field = form.elements.question;
    var question = field.value.trim();
    if (!question) return;
    field.value = "";
    form.querySelector("button").disabled = true;
    await ask(question);
    form.querySelector("button").disabled = false;
    field.focus();
  });

  chat.querySelector("[data-forget]").addEventListener("click", async function () {
    await fetch(api + "/" + encodeURIComponent(user), { method: "DELETE" });
    list.replaceChildren();
  });

  fetch(api + "/" + encodeURIComponent(user)).then(function (answer) { return answer.json(); }).then(function (told) {
    (told.turns || []).forEach(function (turn) { showTurn(card(turn.question), turn); });
  }).catch(function () { /* an empty page to begin with */ });
})();
