// A quiz answers in the page: a click, or Enter, on an option shows whether it is right, and why. No server.
document.addEventListener("DOMContentLoaded", () => {
  for (const option of document.querySelectorAll(".quiz li")) {
    const choose = () => {
      option.classList.add("chosen");
      option.setAttribute("aria-checked", "true");
    };
    option.addEventListener("click", choose);
    option.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(); }
    });
  }
});
