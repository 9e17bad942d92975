// Browsers start no workers for pages opened from the disk; there, the search runs in a hidden frame instead.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    #waiting = [];
    #scope = null;

    constructor(url) {
      super();
      const begin = () => {
        const frame = document.createElement("iframe");
        frame.hidden = true;
        document.body.append(frame);
        const scope = frame.contentWindow;
        // What the worker's script says to its page, and the scripts it asks for.
        scope.postMessage = (data) => this.#tell(this, data);
        scope.importScripts = () => {};
        const script = scope.document.createElement("script");
        script.src = new URL(url, location).href;
        script.onload = () => {
          this.#scope = scope;
          this.#waiting.splice(0).forEach((data) => this.#tell(scope, data));
        };
        script.onerror = () => this.dispatchEvent(new Event("error"));
        scope.document.body.append(script);
      };
      document.body ? begin() : addEventListener("DOMContentLoaded", begin);
    }

    postMessage(data) {
      this.#scope ? this.#tell(this.#scope, data) : this.#waiting.push(data);
    }

    #tell(target, data) {
      const event = new MessageEvent("message", { data: structuredClone(data) });
      setTimeout(() => {
        target.dispatchEvent(event);
        target.onmessage?.(event);
      });
    }
  };
}
