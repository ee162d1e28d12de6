// Before anything is drawn: the colours that were chosen, so that a dark page does not flash light.
try {
  const theme = localStorage.getItem("chipquality.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // a browser that keeps nothing: as the system has it
}
