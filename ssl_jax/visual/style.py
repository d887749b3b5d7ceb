"""The look of a report: one style sheet for light and dark, for wide screens, telephones and paper."""

# Okabe and Ito 2008, colours that the colour-blind tell apart; those of the dark page are lighter.
LIGHT = ("#0072b2", "#d55e00", "#007f5f", "#b0588a", "#b37400", "#3592cc", "#4d4d4d")
DARK = ("#56b4e9", "#ff8c42", "#2fc79a", "#e39ac4", "#f0b429", "#9ad1f5", "#c9c9c9")
COLOURS = len(LIGHT)


def _names(colours) -> str:
    return "".join(f"--c{i}:{colour};" for i, colour in enumerate(colours))


def _marks() -> str:
    return "".join(f".k{i}{{fill:var(--c{i})}}.l{i}{{stroke:var(--c{i})}}\n" for i in range(COLOURS))


STYLE = (
    f"""
:root{{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--text:#1d2329;--soft:#5b6672;--line:#d8dde3;
--good:#00695c;--bad:#b3261e;--accent:#0072b2;--tint:#0072b21f;{_names(LIGHT)}}}
@media (prefers-color-scheme:dark){{:root{{--page:#12161a;--card:#1b2127;--text:#e6eaee;--soft:#a2adb8;--line:#37414b;
--good:#5fd3b3;--bad:#ff9a8f;--accent:#6fbdf0;--tint:#56b4e92e;{_names(DARK)}}}}}
"""
    + """
*{box-sizing:border-box}
html{scroll-behavior:smooth;scroll-padding-top:3.5rem}
body{margin:0;background:var(--page);color:var(--text);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;overflow-wrap:break-word}
header,main,footer{max-width:70rem;margin:0 auto;padding:0 1rem}
header{padding-top:1.6rem}
h1{font-size:1.7rem;line-height:1.2;margin:0}
h2{font-size:1.25rem;margin:0 0 .6rem}
h3{font-size:1rem;margin:1.2rem 0 .4rem}
h3:first-child,h2+h3{margin-top:0}
p{margin:.4rem 0}
.soft,figcaption,caption{color:var(--soft);font-size:.875rem}
nav{position:sticky;top:0;z-index:1;background:var(--page);border-bottom:1px solid var(--line);margin-top:1rem}
nav ul{max-width:70rem;margin:0 auto;padding:.5rem 1rem;list-style:none;display:flex;gap:.25rem 1.1rem;overflow-x:auto;
white-space:nowrap}
a{color:var(--accent);text-decoration:none}
a:hover,a:focus{text-decoration:underline}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1.1rem 1.2rem;margin:1rem 0}
footer{color:var(--soft);font-size:.875rem;padding-bottom:2rem}
figure{margin:0;min-width:0}
figcaption{margin:.2rem 0 .4rem}
figcaption b{color:var(--text)}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(10.2rem,1fr));gap:.7rem;margin:0}
.tiles div{border:1px solid var(--line);border-radius:8px;padding:.55rem .75rem}
.tiles dt{color:var(--soft);font-size:.8rem}
.tiles dd{margin:0;font-size:1.15rem;overflow-wrap:anywhere;font-weight:600;font-variant-numeric:tabular-nums}
.tiles small{display:block;font-size:.8rem;font-weight:400;color:var(--soft)}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,18rem),1fr));gap:1.1rem}
.maps{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:1.1rem}
svg{display:block;max-width:100%;height:auto}
svg text{fill:var(--soft);font:11px system-ui,"DejaVu Sans",sans-serif}
.grid{stroke:var(--line);stroke-width:1}
.frame{fill:none;stroke:var(--line)}
.curve{fill:none;stroke-width:1.8;stroke-linejoin:round}
.warned{stroke:var(--bad);stroke-dasharray:2 3}
.others{fill:var(--soft);opacity:.35}
.dots path{fill-opacity:.8}
svg .word{fill:var(--text);text-anchor:middle}
.legend{display:flex;flex-wrap:wrap;gap:.2rem .9rem;margin:.4rem 0;padding:0;list-style:none;font-size:.875rem}
.legend li{display:flex;align-items:center;gap:.35rem}
.scroll{overflow-x:auto}
.scroll svg{max-width:none}
table{border-collapse:collapse;font-size:.9rem}
caption{text-align:left;white-space:nowrap;padding-bottom:.3rem}
th,td{text-align:left;padding:.28rem .8rem .28rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600}
tbody th{font-weight:500}
thead th{color:var(--soft);font-size:.8rem;white-space:nowrap}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
tr.ours{background:var(--tint)}
tr.ours>*{font-weight:700}
.bar{display:block;height:4px;margin-top:2px;border-radius:2px;background:var(--accent);margin-left:auto}
code{font:.86em ui-monospace,SFMono-Regular,Menlo,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
.keys{columns:19rem;column-gap:1.6rem}
.keys div{break-inside:avoid;display:flex;justify-content:space-between;gap:1rem;border-bottom:1px solid var(--line);
padding:.12rem 0;font-size:.9rem}
.keys dt,.keys dd{margin:0;min-width:0;overflow-wrap:anywhere}
.keys dd{text-align:right;font-weight:600}
summary{cursor:pointer;color:var(--accent);margin:.7rem 0 .4rem}
.good{color:var(--good)}
.bad{color:var(--bad)}
.missing{color:var(--soft);font-style:italic}
.sheet{display:grid;gap:.5rem .4rem;align-items:start;width:max-content;max-width:none}
.sheet>*{font-size:.8rem;text-align:center;min-width:0}
.sheet .title{color:var(--soft)}
.sheet .text{text-align:left;align-self:center;max-width:15rem;font-size:.875rem}
.sheet .begin{padding-right:.6rem;border-right:2px solid var(--line)}
img{max-width:100%;height:auto;vertical-align:top;border-radius:3px}
img.pixels,image.pixels{image-rendering:pixelated}
@media print{nav{display:none}section{break-inside:avoid}}
"""
    + _marks()
)
