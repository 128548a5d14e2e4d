// A small plot of the last values of one figure, with the figure itself in words beside it.

import {el, setText, svg} from './dom.js';

const WIDTH = 240;
const HEIGHT = 48;
const MOST = 60;
const FEWEST = 12;  // that the plot's width is for

// {node, add(value)}: a value that is not known leaves the plot as it is. `shown(value)`: in words.
export function plot(name, shown) {
  const line = svg('path', {class: 'line'});
  const area = svg('path', {class: 'area'});
  const value = el('strong', {}, '–');
  const range = el('span', {class: 'help'});
  const values = [];
  const node = el('figure', {class: 'plot'},
    el('figcaption', {}, name, ' ', value),
    svg('svg', {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, 'aria-hidden': 'true', preserveAspectRatio: 'none'}, area, line),
    range);
  return {
    node,
    add(latest) {
      if (!Number.isFinite(latest)) return;
      values.push(latest);
      if (values.length > MOST) values.shift();
      setText(value, shown(latest));
      setText(range, `${shown(Math.min(...values))} to ${shown(Math.max(...values))}`);
      const top = Math.max(...values) || 1;
      const step = WIDTH / (Math.max(values.length, FEWEST) - 1);
      const points = values.map((one, i) => [
        WIDTH - (values.length - 1 - i) * step, HEIGHT - 2 - (one / top) * (HEIGHT - 4)]);
      const path = points.map(([x, y], i) => `${i ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`).join('');
      line.setAttribute('d', path);
      area.setAttribute('d', `${path}V${HEIGHT}H${points[0][0].toFixed(1)}Z`);
    },
  };
}
