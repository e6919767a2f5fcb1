"use strict";
/* Starts a comparison, and shows it when it is done: then the page comes without the job. */
(() => {
  const button = document.getElementById("compare");
  button.onclick = async () => {
    button.disabled = true;
    const { a, b, data } = button.dataset;
    const response = await studio.post("/runs/compare/start", { a, b, data }).catch(() => null);
    if (response && await studio.told(response)) {
      location.assign((await response.json()).url);
      return;
    }
    if (!response) studio.notice("The server does not answer.", "bad");
    button.disabled = false;
  };
  document.getElementById("job").addEventListener("ended", event => {
    if (event.detail.state === "done") location.reload();
  });
})();
