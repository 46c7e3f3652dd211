'use strict';
(() => {
  const by = (id) => document.getElementById(id);
  const parsed = (id) => JSON.parse(by(id).textContent);
  const kit = parsed('kit');
  // Every rater of this browser has a shelf; the last one is found again.
  const shelf = (rater) => `heatproof-rating ${kit.kit_id} ${rater}`;
  const lastRater = `heatproof-rating ${kit.kit_id}`;
  const total = kit.items.reduce((sum, item) => sum + item.panels.length, 0);
  const beyond = kit.items.length;
  // Answers by "item panel": rating ('' not yet), seconds, comment. `at` is the page; -1 the start, `beyond` the end.
  let state = { rater: '', at: -1, answers: {} };
  let active = null;
  let since = null;
  let kept = true;

  const keep = () => {
    if (!state.rater) return;
    try {
      localStorage.setItem(shelf(state.rater), JSON.stringify(state));
      localStorage.setItem(lastRater, state.rater);
    } catch {
      kept = false;
      by('unkept').hidden = false;
    }
  };
  const shelved = (rater) => JSON.parse(localStorage.getItem(shelf(rater)) ?? 'null') ?? { rater, at: -1, answers: {} };
  const name = (item, panel) => `${item.item} ${panel}`;
  const answer = (item, panel) => (state.answers[name(item, panel)] ??= { rating: '', seconds: 0, comment: '' });
  const rated = (item) => item.panels.filter((panel) => answer(item, panel).rating !== '').length;
  const allRated = () => kit.items.reduce((sum, item) => sum + rated(item), 0);
  const said = (text) => { by('said').textContent = text; };
  const words = (rating) => (rating === kit.cannot_judge ? rating : `${rating}, ${kit.scale[rating - 1]}`);

  // The time that a panel is framed on a visible page is the time its rater looked at it.
  const clock = () => {
    const now = performance.now();
    if (active !== null && since !== null) answer(kit.items[state.at], active).seconds += (now - since) / 1000;
    since = document.hidden || active === null ? null : now;
  };

  const panels = () => [...document.querySelectorAll('.panel')];
  const panelOf = (letter) => panels().find((each) => each.dataset.panel === letter);
  const frame = (letter) => {
    if (active === letter) return;
    clock();
    active = letter;
    clock();
    for (const each of panels()) each.classList.toggle('active', each.dataset.panel === letter);
  };
  const focusOn = (letter) => {
    const box = panelOf(letter);
    (box.querySelector('input:checked') ?? box.querySelector('input')).focus();
    box.scrollIntoView({ block: 'nearest' });
    frame(letter);
  };

  const showState = () => {
    const done = allRated();
    const inside = state.at >= 0 && state.at < beyond;
    by('place').textContent = inside ? `Page ${state.at + 1} of ${beyond}` : '';
    by('count').textContent = `${done} of ${total} rated`;
    by('progress').max = total;
    by('progress').value = done;
    by('help').hidden = state.at < 0;
    by('save').hidden = state.at < 0;
    if (!inside) return;
    const item = kit.items[state.at];
    for (const box of panels()) {
      const { rating } = answer(item, box.dataset.panel);
      box.classList.toggle('rated', rating !== '');
      box.querySelector('legend span').textContent = rating === '' ? 'not rated' : words(rating);
      for (const radio of box.querySelectorAll('input[type=radio]')) radio.checked = radio.value === String(rating);
    }
    by('previous').disabled = state.at === 0;
    by('next').textContent = state.at === beyond - 1 ? 'Finish →' : 'Next page →';
  };

  const rate = (letter, rating, goOn) => {
    const item = kit.items[state.at];
    clock();
    answer(item, letter).rating = rating;
    keep();
    showState();
    said(`Heatmap ${letter}: ${words(rating)}. ${rated(item)} of ${item.panels.length} on this page.`);
    if (!goOn) return;
    const order = item.panels;
    const from = order.indexOf(letter);
    const ahead = [...order.slice(from + 1), ...order.slice(0, from)].find((panel) => answer(item, panel).rating === '');
    if (ahead === undefined) by('next').focus();
    else focusOn(ahead);
  };

  const element = (tag, properties = {}, children = []) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  const choice = (letter, value, text) => {
    const radio = element('input', { type: 'radio', name: `panel-${letter}`, value });
    radio.addEventListener('change', () => rate(letter, value, false));
    const label = element('label', {}, [radio, element('b', { textContent: text[0] }), element('span', { textContent: text[1] })]);
    return label;
  };
  const panelBox = (item, letter, source) => {
    const picture = element('img', { src: source, alt: `Heatmap ${letter} on the scan` });
    const enlarge = element('button', { type: 'button', className: 'enlarge', tabIndex: -1 }, [picture]);
    enlarge.setAttribute('aria-label', `Enlarge heatmap ${letter}`);
    enlarge.addEventListener('click', () => { focusOn(letter); enlarged(source, `Heatmap ${letter}`); });
    const choices = element('div', { className: 'choices' });
    kit.scale.forEach((text, place) => choices.append(choice(letter, String(place + 1), [place + 1, text])));
    choices.append(choice(letter, kit.cannot_judge, [0, kit.cannot_judge]));
    const comment = element('input', {
      type: 'text', className: 'comment', placeholder: 'Comment (optional)', maxLength: 500,
      value: answer(item, letter).comment, autocomplete: 'off',
    });
    comment.setAttribute('aria-label', `Comment on heatmap ${letter}, optional`);
    comment.addEventListener('input', () => { answer(item, letter).comment = comment.value; keep(); });
    const legend = element('legend', {}, [`Heatmap ${letter}`, element('span')]);
    const box = element('fieldset', { className: 'panel' }, [legend, enlarge, choices, comment]);
    box.dataset.panel = letter;
    box.addEventListener('focusin', () => frame(letter));
    box.addEventListener('pointerdown', () => frame(letter));
    return box;
  };

  const enlarged = (source, title) => {
    const dialog = by('large');
    const picture = dialog.querySelector('img');
    picture.src = source;
    picture.alt = title;
    by('large-name').textContent = title;
    dialog.showModal();
  };

  const show = (at, focus = true) => {
    clock();
    active = null;
    since = null;
    state.at = at;
    keep();
    const inside = at >= 0 && at < beyond;
    by('start').hidden = at >= 0;
    by('item').hidden = !inside;
    by('end').hidden = at < beyond;
    if (at < 0) {
      by('rater').value = state.rater;
      by('go').textContent = allRated() ? 'Go on' : 'Begin';
      if (focus) by('start-title').focus();
    } else if (inside) {
      const item = kit.items[at];
      const pictures = parsed(`pictures-${item.item}`);
      by('task').textContent = `How well does each heatmap show what you would look at to ${item.task}?`;
      by('scan').src = pictures.scan;
      by('panels').replaceChildren(...item.panels.map((panel, place) => panelBox(item, panel, pictures.panels[place])));
      scrollTo(0, 0);
      if (focus) {
        said(`Page ${at + 1} of ${beyond}. ${by('task').textContent}`);
        focusOn(item.panels.find((panel) => answer(item, panel).rating === '') ?? item.panels[0]);
        scrollTo(0, 0);
      }
    } else {
      const left = total - allRated();
      by('summary').textContent = left
        ? `${left} of ${total} heatmaps are not rated yet. You can go back to them, or save what there is.`
        : `All ${total} heatmaps are rated. Thank you. One last thing: save your answers as a file.`;
      by('file').textContent = fileName();
      by('end-title').focus();
    }
    showState();
  };
  const firstOpen = () => {
    const open = kit.items.findIndex((item) => rated(item) < item.panels.length);
    return open < 0 ? beyond : open;
  };

  const fileName = () => `${kit.kit_id}_${state.rater.replace(/[^\p{L}\p{N}-]+/gu, '-') || 'rater'}.csv`;
  const field = (value) => (/[",;\t\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const table = () => {
    clock();
    const rows = [kit.columns];
    for (const item of kit.items) {
      for (const panel of item.panels) {
        const { rating, seconds, comment } = answer(item, panel);
        if (rating === '') continue;
        const row = { kit_id: kit.kit_id, rater: state.rater, item: item.item, panel, rating, seconds: seconds.toFixed(1), comment };
        rows.push(kit.columns.map((column) => field(String(row[column]))));
      }
    }
    return rows.map((row) => `${row.join(',')}\n`).join('');
  };
  const save = () => {
    const link = element('a', { href: URL.createObjectURL(new Blob([table()], { type: 'text/csv' })), download: fileName() });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    said(`Saved ${allRated()} of ${total} ratings as ${fileName()}.`);
  };

  // Fields of a CSV, quotes and line ends inside quotes included; a spreadsheet may have put semicolons.
  const records = (text) => {
    const header = text.split('\n', 1)[0];
    const separator = [',', ';', '\t'].reduce((one, two) => (header.split(two).length > header.split(one).length ? two : one));
    const found = [];
    let row = [];
    let cell = '';
    let quoted = false;
    for (let place = 0; place < text.length; place += 1) {
      const letter = text[place];
      if (quoted && letter === '"' && text[place + 1] === '"') { cell += '"'; place += 1; }
      else if (letter === '"') quoted = !quoted;
      else if (!quoted && letter === separator) { row.push(cell); cell = ''; }
      else if (!quoted && letter === '\n') { row.push(cell.replace(/\r$/, '')); found.push(row); row = []; cell = ''; }
      else cell += letter;
    }
    if (cell !== '' || row.length) found.push([...row, cell]);
    return found;
  };
  const load = (text) => {
    const [header, ...rows] = records(text.replace(/^\uFEFF/, ''));
    const missing = kit.columns.filter((column) => !header?.includes(column));
    if (missing.length) return `This is no file of answers: it has no column ${missing.join(', ')}.`;
    const read = { rater: '', at: -1, answers: {} };
    for (const [place, row] of rows.entries()) {
      const entry = Object.fromEntries(header.map((column, at) => [column, row[at] ?? '']));
      const item = kit.items.find((each) => String(each.item) === entry.item);
      const known = entry.rating === kit.cannot_judge || (Number(entry.rating) >= 1 && Number(entry.rating) <= kit.scale.length && Number.isInteger(Number(entry.rating)));
      if (entry.kit_id !== kit.kit_id) return `Line ${place + 2} answers another page (${entry.kit_id}). Nothing was read.`;
      if (!item?.panels.includes(entry.panel) || !known) return `Line ${place + 2} is no answer of this page. Nothing was read.`;
      read.rater = entry.rater;
      read.answers[name(item, entry.panel)] = { rating: entry.rating, seconds: Number(entry.seconds) || 0, comment: entry.comment };
    }
    state = read;
    show(-1, false);
    return `Read ${allRated()} ratings of ${total} by ${state.rater}. They replace what this browser had kept.`;
  };

  const move = (key) => {
    const order = panels();
    const columns = getComputedStyle(by('panels')).gridTemplateColumns.split(' ').length;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[key];
    const to = order.findIndex((each) => each.dataset.panel === active) + step;
    if (order[to]) focusOn(order[to].dataset.panel);
  };
  document.addEventListener('keydown', (event) => {
    if (state.at < 0 || state.at >= beyond || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches('input[type=text]')) return;
    const key = event.key.toLowerCase();
    const digit = Number(event.key);
    if (/^[0-9]$/.test(event.key) && digit <= kit.scale.length && active !== null) {
      by('large').close();
      rate(active, digit === 0 ? kit.cannot_judge : event.key, true);
    } else if (event.key.startsWith('Arrow') && active !== null && !by('large').open) move(event.key);
    else if (key === 'z' && active !== null && !by('large').open) enlarged(panelOf(active).querySelector('img').src, `Heatmap ${active}`);
    else if (key === 'z') by('large').close();
    else if (key === 'n' && !by('large').open) show(state.at + 1);
    else if (key === 'p' && state.at > 0 && !by('large').open) show(state.at - 1);
    else return;
    event.preventDefault();
  });
  document.addEventListener('visibilitychange', () => { clock(); keep(); });
  addEventListener('pagehide', () => { clock(); keep(); });

  by('begin').addEventListener('submit', (event) => {
    event.preventDefault();
    const rater = by('rater').value.trim();
    if (!rater) return;
    if (rater !== state.rater) state = kept ? shelved(rater) : { rater, at: -1, answers: {} };
    show(firstOpen());
  });
  by('load').addEventListener('change', async (event) => {
    const [file] = event.target.files;
    if (!file) return;
    by('loaded').textContent = load(await file.text());
    // The same file, mended, may be chosen again.
    event.target.value = '';
  });
  by('next').addEventListener('click', () => show(state.at + 1));
  by('previous').addEventListener('click', () => show(state.at - 1));
  by('back').addEventListener('click', () => show(Math.min(firstOpen(), beyond - 1)));
  by('help').addEventListener('click', () => show(-1));
  by('save').addEventListener('click', save);
  by('save-end').addEventListener('click', save);
  by('close').addEventListener('click', () => by('large').close());
  by('scan-button').addEventListener('click', () => enlarged(by('scan').src, 'The scan'));

  try {
    const rater = localStorage.getItem(lastRater);
    if (rater) state = shelved(rater);
  } catch {
    kept = false;
  }
  by('unkept').hidden = kept;
  // A rater who comes back finds the page that was open.
  show(state.rater ? state.at : -1, state.at >= 0);
})();
