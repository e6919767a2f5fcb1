// The search in a page opened from the disk, which may start no worker: it runs in a hidden frame.
// Without a script of this name, the plugin `offline` loads one from another host.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.inner = frame.contentWindow;
      this.inner.document.open();
      this.inner.document.write("<body></body>");
      this.inner.document.close();
      this.inner.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      const script = this.inner.document.createElement("script");
      this.ready = new Promise((resolve) => script.addEventListener("load", resolve));
      script.src = url;
      this.inner.document.body.append(script);
    }

    postMessage(data) {
      this.ready.then(() => this.inner.dispatchEvent(new MessageEvent("message", { data })));
    }
  };
}

// To the search a word behind a hyphen is one that must not occur; an option is meant here.
const { postMessage } = Worker.prototype;
Worker.prototype.postMessage = function (message) {
  if (typeof message.data === "string") {
    message.data = message.data.replace(/(^|\s)--+/g, "$1");
  }
  postMessage.call(this, message);
};
