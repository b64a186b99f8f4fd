// Small comforts. Every page works without them.
(function () {
  "use strict";
  var root = document.documentElement;
  var kept = null;
  try { kept = localStorage.getItem("theme"); } catch (error) { /* storage is switched off */ }
  if (kept === "dark" || kept === "light") root.dataset.theme = kept;

  document.addEventListener("DOMContentLoaded", function () {
    var button = document.querySelector("[data-theme-switch]");
    button.hidden = false;
    button.addEventListener("click", function () {
      var isDark = root.dataset.theme
        ? root.dataset.theme === "dark"
        : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = isDark ? "light" : "dark";
      try { localStorage.setItem("theme", root.dataset.theme); } catch (error) { /* it holds until the next page */ }
    });

    // On a narrow screen the table of contents of a module starts closed.
    var contents = document.querySelector(".siblings details");
    if (contents && matchMedia("(max-width: 62rem)").matches) contents.open = false;
    var current = document.querySelector(".siblings [aria-current]");
    if (current && contents.open) current.closest("ol").scrollTop = current.offsetTop - 120;
  });

  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    if (/^(INPUT|TEXTAREA|SELECT|BUTTON)$/.test(event.target.tagName) || event.target.isContentEditable) return;
    if (event.key === "/") {
      event.preventDefault();
      document.querySelector(".search input").focus();
    }
    var turn = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
    var link = turn && document.querySelector("a[rel=" + turn + "]");
    if (link) link.click();
  });
})();
