// Puts a Copy button above every <pre data-copy>. Without this script the blocks can be selected with one click.
"use strict";

(() => {
  const blocks = document.querySelectorAll("pre[data-copy]");
  if (blocks.length === 0) return;

  // A live region must exist before its words change, or they are not announced.
  const voice = document.createElement("p");
  voice.className = "hidden";
  voice.setAttribute("role", "status");
  voice.setAttribute("aria-live", "polite");
  document.body.append(voice);

  const say = (words) => {
    voice.textContent = "";
    setTimeout(() => { voice.textContent = words; }, 50);
  };

  const select = (block) => {
    const selection = getSelection();
    selection.removeAllRanges();
    selection.selectAllChildren(block);
  };

  // The clipboard API exists only over HTTPS and on loopback; elsewhere the old command still works.
  const copy = async (block) => {
    if (navigator.clipboard) {
      try {
        await navigator.clipboard.writeText(block.textContent);
        return true;
      } catch {
        // Refused by the browser: try the selection.
      }
    }
    select(block);
    return document.execCommand("copy");
  };

  for (const block of blocks) {
    const what = block.dataset.copy;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy small";
    const label = document.createElement("span");
    label.textContent = "Copy";
    const rest = document.createElement("span");
    rest.className = "hidden";
    rest.textContent = ` ${what}`;
    button.append(label, rest);

    let timer;
    button.addEventListener("click", async () => {
      const copied = await copy(block);
      label.textContent = copied ? "Copied" : "Selected";
      say(copied ? `Copied ${what}` : `Selected ${what}: copy with your keyboard`);
      clearTimeout(timer);
      timer = setTimeout(() => { label.textContent = "Copy"; }, 2500);
    });

    const bar = document.createElement("div");
    bar.className = "copy-bar";
    bar.append(button);
    const frame = document.createElement("div");
    frame.className = "copy-frame";
    block.replaceWith(frame);
    frame.append(bar, block);
  }
})();
