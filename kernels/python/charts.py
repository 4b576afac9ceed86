# Structured data of matplotlib figures, in the shape of the SDK's ChartData: {type, title, data, layout, library}.
# `type` is one of the SDK's line, bar, scatter, pie, histogram, heatmap and unknown; box plots, for which it has no
# name, are "unknown" with the kind "box" in each item.
CHART_POINTS_MAX = 10000


class ChartTooLarge(Exception):
    pass


class ChartReader:
    """Reads one figure; counts points, so that a chart stays a description and no second copy of the data."""

    def __init__(self):
        self.points = 0

    def value(self, value):
        """A coordinate as JSON has it."""
        self.points += 1
        if self.points > CHART_POINTS_MAX:
            raise ChartTooLarge
        if hasattr(value, 'item'):
            value = value.item()
        if isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, float):
            return value if value == value and abs(value) != float('inf') else None
        return str(value)

    def values(self, values):
        return [self.value(value) for value in values]

    @staticmethod
    def label(artist):
        text = str(artist.get_label() or '')
        return None if text.startswith('_') else text

    def ticks(self, axis, positions):
        """Names of categories: the tick labels at the positions, where there are any.

        Asking for them brings them up to date; the figure was drawn for its picture and is not drawn once more for this.
        """
        names = {round(float(at), 9): text.get_text() for at, text in zip(axis.get_ticklocs(), axis.get_ticklabels())}
        return [names.get(round(float(position), 9)) or self.value(position) for position in positions]

    def dates_or_values(self, axis, values):
        """Numbers on a date axis are days; tell them as dates."""
        import matplotlib.dates
        values = list(values)
        if isinstance(axis.get_converter() if hasattr(axis, 'get_converter') else axis.converter,
                      (matplotlib.dates.DateConverter, matplotlib.dates._SwitchableDateConverter)):
            values = [v if hasattr(v, 'isoformat') or not isinstance(v, (int, float)) else matplotlib.dates.num2date(v)
                      for v in (x.item() if hasattr(x, 'item') else x for x in values)]
            return self.values(v.isoformat() if hasattr(v, 'isoformat') else str(v) for v in values)
        return self.values(values)

    def pie(self, axes):
        from matplotlib.patches import Wedge
        wedges = [patch for patch in axes.patches if isinstance(patch, Wedge)]
        if not wedges:
            return None
        names = [text.get_text() for text in axes.texts]
        step = max(1, len(names) // len(wedges))  # with autopct each wedge has two texts
        items = []
        for i, wedge in enumerate(wedges):
            share = abs(wedge.theta2 - wedge.theta1) / 360
            name = self.label(wedge) or (names[i * step] if i * step < len(names) else '')
            items.append({'label': name, 'angle': self.value(share * 360), 'value': self.value(round(share, 9))})
        return 'pie', items

    def bars(self, axes):
        from matplotlib.container import BarContainer
        containers = [c for c in axes.containers if isinstance(c, BarContainer)]
        if not containers:
            return None
        kind, groups = 'bar', []
        for container in containers:
            patches = list(container.patches)
            flat = getattr(container, 'orientation', None) == 'horizontal'
            starts = [p.get_y() if flat else p.get_x() for p in patches]
            widths = [p.get_height() if flat else p.get_width() for p in patches]
            sizes = [p.get_width() if flat else p.get_height() for p in patches]
            if len(patches) > 1 and all(abs(a + w - b) < 1e-9 * max(1, abs(b))
                                        for a, w, b in zip(starts, widths, starts[1:])):
                kind = 'histogram'  # bars that touch each other
                items = [{'from': self.value(a), 'to': self.value(a + w), 'value': self.value(s)}
                         for a, w, s in zip(starts, widths, sizes)]
            else:
                middles = [a + w / 2 for a, w in zip(starts, widths)]
                names = self.ticks(axes.yaxis if flat else axes.xaxis, middles)
                items = [{'label': str(n), 'value': self.value(s)} for n, s in zip(names, sizes)]
            groups.append({'label': self.label(container), 'items': items})
        return kind, groups

    def boxes(self, axes):
        """boxplot() leaves lines: per box a closed path of five or more points, two whiskers, two caps, a median, in this order."""
        lines = [[list(line.get_xdata()), list(line.get_ydata()), str(line.get_marker())] for line in axes.lines]
        boxes = [i for i, (x, y, _) in enumerate(lines) if len(x) >= 5 and x[0] == x[-1] and y[0] == y[-1]]
        if not boxes or len(lines) < len(boxes) * 6:
            return None
        items = []
        for i in boxes:
            x, y, _ = lines[i]
            whiskers = [v for _, line_y, _ in lines[i + 1:i + 3] for v in line_y]
            medians = [line_y[0] for line_x, line_y, _ in lines[i + 5:]
                       if len(line_x) == 2 and line_y[0] == line_y[1] and min(y) <= line_y[0] <= max(y)
                       and min(x) - 1e-9 <= min(line_x) and max(line_x) <= max(x) + 1e-9]
            middle = (min(x) + max(x)) / 2
            outliers = [v for line_x, line_y, marker in lines if marker not in ('None', '') and len(line_x)
                        for px, v in zip(line_x, line_y) if abs(px - middle) < 1e-9]
            items.append({
                'kind': 'box', 'label': str(self.ticks(axes.xaxis, [middle])[0]), 'min': self.value(min(whiskers)),
                'first_quartile': self.value(min(y)), 'median': self.value(medians[0]) if medians else None,
                'third_quartile': self.value(max(y)), 'max': self.value(max(whiskers)),
                'outliers': self.values(outliers)})
        return 'unknown', items

    def scatter(self, axes):
        from matplotlib.collections import PathCollection
        groups = []
        for collection in axes.collections:
            if isinstance(collection, PathCollection) and len(collection.get_offsets()):
                x, y = zip(*collection.get_offsets())
                groups.append({'label': self.label(collection), 'x': self.dates_or_values(axes.xaxis, x),
                               'y': self.values(y)})
        return ('scatter', groups) if groups else None

    def heatmap(self, axes):
        if not axes.images:
            return None
        array = axes.images[0].get_array()
        if getattr(array, 'ndim', 0) != 2:
            return None
        return 'heatmap', [self.values(row) for row in array.tolist()]

    def line(self, axes):
        groups = [{'label': self.label(line), 'x': self.dates_or_values(axes.xaxis, line.get_xdata()),
                   'y': self.values(line.get_ydata())} for line in axes.lines if len(line.get_xdata())]
        return ('line', groups) if groups else None

    def axes_chart(self, axes):
        for read in (self.pie, self.boxes, self.bars, self.scatter, self.heatmap, self.line):
            found = read(axes)
            if found:
                break
        else:
            return None
        chart = {'type': found[0], 'data': found[1], 'library': 'matplotlib',
                 'layout': {'xLabel': axes.get_xlabel(), 'yLabel': axes.get_ylabel(),
                            'xScale': axes.get_xscale(), 'yScale': axes.get_yscale()}}
        if axes.get_title():
            chart['title'] = axes.get_title()
        return chart


def figure_chart(figure):
    """The ChartData of a figure, or None if it shows nothing that we know or too much of it."""
    try:
        reader = ChartReader()
        charts = [chart for chart in map(reader.axes_chart, figure.axes) if chart]
        title = figure._suptitle.get_text() if getattr(figure, '_suptitle', None) else None
        if not charts:
            return None
        chart = charts[0] if len(charts) == 1 else {'type': 'unknown', 'data': charts, 'library': 'matplotlib'}
        if title and 'title' not in chart:
            chart['title'] = title
        return plain(chart)
    except Exception:  # user code can make artists of any shape; the picture is the result that counts
        return None


class Shallow:
    """In place of the module `copy` where markers are copied: what they share nobody changes."""
    deepcopy = dict


class drawn_once:
    """While a figure is drawn, nothing is done twice that comes to the same.

    Each axis measures the labels of its ticks for themselves and, with all ticks updated again, for the place of its own
    label. And each tick, made as it is drawn, is given deep copies of the markers of another one.
    """
    NAMES = 'draw', '_get_ticklabel_bboxes', '_get_tick_boxes_siblings'

    def __init__(self, figure):
        from matplotlib import axis as axes, markers
        self.markers, self.copy = markers, markers.copy
        self.parts = [axis for each in figure.axes for axis in (getattr(each, 'xaxis', None), getattr(each, 'yaxis', None))
                      if type(axis) in (axes.XAxis, axes.YAxis) and vars(axis).keys().isdisjoint(self.NAMES)]

    def __enter__(self):
        self.markers.copy = Shallow
        for axis in self.parts:
            self.watch(axis)

    def __exit__(self, *raised):
        self.markers.copy = self.copy
        for axis in self.parts:
            for name in self.NAMES:
                vars(axis).pop(name, None)

    def watch(self, axis):
        draw, measure, of_siblings = (getattr(axis, name) for name in self.NAMES)
        found = None  # a list while the axis draws itself

        def draw_axis(*args, **kwargs):
            nonlocal found
            found = []
            try:
                return draw(*args, **kwargs)
            finally:
                found = None

        def measure_labels(*args, **kwargs):
            boxes = measure(*args, **kwargs)
            if found is not None:
                found.append(boxes)
            return boxes

        def boxes_of_siblings(renderer):
            groups = axis.figure._align_label_groups.values()
            if not found or len(found) != 1 or any(len(group.get_siblings(axis.axes)) != 1 for group in groups):
                return of_siblings(renderer)
            return tuple(map(list, found[0]))
        axis.draw, axis._get_ticklabel_bboxes, axis._get_tick_boxes_siblings = draw_axis, measure_labels, boxes_of_siblings
