"use strict";
/* Buttons that copy the text of an element: data-copies has its id. */
document.addEventListener("click", async event => {
  const button = event.target.closest?.("[data-copies]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copies);
  try {
    await navigator.clipboard.writeText(source.textContent);
    studio.say("Copied");
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  } catch {
    // Only pages of this machine or over HTTPS may; then it is selected for Ctrl+C.
    getSelection().selectAllChildren(source);
  }
});
