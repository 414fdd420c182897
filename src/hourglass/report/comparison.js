// The line between both images of a pair follows pointer and keyboard; the range input holds where it is.
for (const stage of document.querySelectorAll(".stage")) {
  const range = stage.querySelector("input");
  const show = (percent) => stage.style.setProperty("--at", `${percent}%`);
  const follow = (event) => {
    const box = stage.getBoundingClientRect();
    const percent = Math.min(100, Math.max(0, (100 * (event.clientX - box.left)) / box.width));
    range.value = percent;
    show(percent);
  };
  range.addEventListener("input", () => show(range.value));
  stage.addEventListener("pointerdown", (event) => {
    event.preventDefault(); // no selection of text
    stage.setPointerCapture(event.pointerId);
    range.focus({ preventScroll: true });
    follow(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (stage.hasPointerCapture(event.pointerId)) follow(event);
  });
  show(range.value); // a browser may restore it
}
const actual = document.getElementById("actual");
const resize = () => document.body.classList.toggle("actual", actual.checked);
actual.addEventListener("change", resize);
resize();
document.documentElement.dataset.ready = "";
