// Filters: what is not of the chosen suite and base is hidden, in the table and in the pictures.
(() => {
  const filters = document.querySelector(".filters");
  const selects = [...filters.querySelectorAll("select")];
  const shown = document.getElementById("shown");
  filters.hidden = false;
  const apply = () => {
    const [suite, base] = selects.map((each) => each.value);
    document.querySelectorAll("[data-suite]").forEach((each) => {
      const other = (suite && each.dataset.suite !== suite) || (base && each.dataset.base !== base);
      each.toggleAttribute("hidden", Boolean(other));
    });
    shown.textContent = `${document.querySelectorAll("tr[data-suite]:not([hidden])").length} rows shown`;
  };
  selects.forEach((each) => each.addEventListener("change", apply));
  apply();
})();
