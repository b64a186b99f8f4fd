"""App shapes of FastAPI's, each a module's source with the requests that tell whether it answers as in a bare app."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Ask = tuple[str, str, dict[str, Any]]


@dataclass(frozen=True)
class Shape:
    name: str
    source: str
    asks: tuple[Ask, ...] = field(default_factory=tuple)


def get(path: str, **more: Any) -> Ask:
    return "GET", path, more


def post(path: str, **more: Any) -> Ask:
    return "POST", path, more


HEAD = """
from typing import Annotated
from fastapi import *
from fastapi.responses import *
from fastapi.security import *
from pydantic import BaseModel, Field
"""

SHAPES = (
    Shape(
        "router",
        "router = APIRouter()\n@router.get('/a/{n}')\nasync def a(n: int, q: str = ''): return {'n': n, 'q': q}",
        (get("/a/1"), get("/a/x"), get("/a/1?q=é")),
    ),
    Shape(
        "routes of a router",
        "router_ = APIRouter()\n@router_.get('/r')\ndef r(): return {'r': 1}\nroutes = router_.routes",
        (get("/r"),),
    ),
    Shape(
        "models",
        """
app = FastAPI()
class Item(BaseModel):
    name: str = Field(min_length=2)
    price: float
    tags: list[str] = []
class Shown(BaseModel):
    name: str
@app.post('/items', response_model=Shown, status_code=201)
async def create(item: Item): return item
@app.put('/items/{id}')
async def put(id: int, item: Item, dry: bool = False): return {'id': id, 'item': item, 'dry': dry}
""",
        (
            post("/items", json={"name": "ab", "price": 1}),
            post("/items", json={"name": "a", "price": "x"}),
            post("/items", content=b"{broken", headers={"content-type": "application/json"}),
            ("PUT", "/items/3?dry=yes", {"json": {"name": "ab", "price": 2, "tags": ["t"]}}),
        ),
    ),
    Shape(
        "dependencies",
        """
log = []
def cached(): log.append('cached'); return len(log)
def one(c: Annotated[int, Depends(cached)]): return c
def two(c: Annotated[int, Depends(cached)]): return c
async def resource():
    log.append('open')
    try:
        yield 'resource'
    finally:
        log.append('closed')
router = APIRouter(dependencies=[Depends(cached)])
@router.get('/deps')
async def deps(a: Annotated[int, Depends(one)], b: Annotated[int, Depends(two)], r: Annotated[str, Depends(resource)]):
    return {'same': a == b, 'r': r}
@router.get('/log')
async def show(): return log
""",
        (get("/deps"), get("/deps"), get("/log")),
    ),
    Shape(
        "dependency that raises after its yield",
        """
app = FastAPI()
async def guarded():
    try:
        yield
    except ValueError:
        raise HTTPException(418, 'teapot')
@app.get('/guarded', dependencies=[Depends(guarded)])
async def view(): raise ValueError
""",
        (get("/guarded"),),
    ),
    Shape(
        "overrides",
        """
app = FastAPI()
def real(): return 'real'
app.dependency_overrides[real] = lambda: 'overridden'
@app.get('/over')
def view(x: Annotated[str, Depends(real)]): return x
""",
        (get("/over"),),
    ),
    Shape(
        "background tasks",
        """
app = FastAPI()
done = []
@app.get('/bg')
async def bg(tasks: BackgroundTasks): tasks.add_task(done.append, 1); return 'ok'
@app.get('/done')
async def show(): return done
""",
        (get("/bg"), get("/done")),
    ),
    Shape(
        "exception handlers",
        """
app = FastAPI()
class Odd(Exception): pass
@app.exception_handler(Odd)
async def odd(request, error): return JSONResponse({'odd': request.url.path}, 409)
@app.exception_handler(404)
async def missing(request, error): return PlainTextResponse('own 404', 404)
@app.get('/odd')
def raises(): raise Odd
@app.get('/gone')
def gone(): raise HTTPException(404)
@app.get('/http')
def http(): raise HTTPException(403, {'why': 'no'}, headers={'x-why': 'no'})
""",
        (get("/odd"), get("/gone"), get("/http")),
    ),
    Shape(
        "middleware",
        """
app = FastAPI()
@app.middleware('http')
async def timed(request, call_next):
    response = await call_next(request); response.headers['x-mid'] = request.url.path; return response
from fastapi.middleware.gzip import GZipMiddleware
app.add_middleware(GZipMiddleware, minimum_size=10)
@app.get('/mid')
def view(): return {'long': 'x' * 100}
""",
        (get("/mid"),),
    ),
    Shape(
        "forms and files",
        """
app = FastAPI()
@app.post('/form')
async def form(a: Annotated[str, Form()], files: list[UploadFile]):
    return {'a': a, 'files': [(f.filename, len(await f.read()), f.content_type) for f in files]}
""",
        (
            post("/form", data={"a": "1"}, files=[("files", ("x.txt", b"x" * 70_000)), ("files", ("y.bin", b"y"))]),
            post("/form", data={"a": "1"}),
        ),
    ),
    Shape(
        "streams",
        """
app = FastAPI()
@app.get('/stream')
async def stream():
    async def parts():
        for n in range(5): yield f'{n}\\n'
    return StreamingResponse(parts(), media_type='text/plain')
@app.get('/redirect')
def redirect(): return RedirectResponse('/elsewhere')
@app.get('/file')
def file(): return FileResponse(__file__, filename='me.py')
""",
        (get("/stream"), get("/redirect"), get("/file"), get("/file", headers={"range": "bytes=0-9"})),
    ),
    Shape(
        "lifespan",
        """
from contextlib import asynccontextmanager
@asynccontextmanager
async def lifespan(app):
    app.state.made = 'app state'
    yield {'kept': 'request state'}
app = FastAPI(lifespan=lifespan)
@app.get('/state')
def state(request: Request): return [request.app.state.made, request.state.kept]
""",
        (get("/state"),),
    ),
    Shape(
        "startup of a router",
        """
started = []
router = APIRouter(on_startup=[lambda: started.append('router')])
@router.get('/started')
def show(): return started
""",
        (get("/started"),),
    ),
    Shape(
        "security",
        """
app = FastAPI()
bearer = OAuth2PasswordBearer(tokenUrl='token')
basic = HTTPBasic()
key = APIKeyHeader(name='X-Key')
@app.get('/bearer')
def b(token: Annotated[str, Depends(bearer)]): return token
@app.get('/basic')
def c(who: Annotated[HTTPBasicCredentials, Depends(basic)]): return who.username
@app.get('/key')
def k(key: Annotated[str, Security(key)]): return key
""",
        (
            get("/bearer"),
            get("/bearer", headers={"authorization": "Bearer t"}),
            get("/basic"),
            get("/basic", auth=("ada", "x")),
            get("/key"),
        ),
    ),
    Shape(
        "included routers",
        """
inner = APIRouter(prefix='/inner', tags=['i'])
@inner.get('/x', name='x_of_inner')
def x(request: Request): return str(request.url_for('x_of_inner'))
outer = APIRouter(prefix='/outer')
outer.include_router(inner)
app = FastAPI()
app.include_router(outer, prefix='/v1', dependencies=[Depends(lambda: None)])
app.include_router(inner)
""",
        (get("/v1/outer/inner/x"), get("/inner/x")),
    ),
    Shape(
        "root path",
        "app = FastAPI(root_path='/api')\n@app.get('/rooted')\ndef r(r: Request): return r.scope['root_path']",
        (get("/rooted"),),
    ),
    Shape(
        "mount",
        """
app = FastAPI()
sub = FastAPI()
@sub.get('/x/{n}')
def x(n: int, request: Request): return [n, request.scope['root_path'], request.url.path]
app.mount('/sub', sub)
""",
        (get("/sub/x/3"), get("/sub/nothing")),
    ),
    Shape(
        "headers and cookies",
        """
app = FastAPI()
@app.get('/hc')
def hc(response: Response, x_one: Annotated[str | None, Header()] = None, c: Annotated[str | None, Cookie()] = None):
    response.set_cookie('seen', 'yes'); response.headers['x-two'] = '2'; response.status_code = 202
    return [x_one, c]
""",
        (get("/hc", headers={"x-one": "1", "cookie": "c=3"}),),
    ),
    Shape(
        "converters and several methods",
        """
app = FastAPI()
@app.get('/p/{rest:path}')
def p(rest: str): return rest
@app.api_route('/many', methods=['GET', 'POST', 'DELETE'])
async def many(request: Request): return [request.method, (await request.body()).decode()]
@app.head('/many')
def head(): return Response(headers={'x-head': '1'})
""",
        (get("/p/a/b/c"), post("/many", content=b"body"), ("DELETE", "/many", {}), ("HEAD", "/many", {})),
    ),
    Shape(
        "response classes",
        """
app = FastAPI(default_response_class=PlainTextResponse)
@app.get('/text')
def text(): return 'plain'
@app.get('/html', response_class=HTMLResponse)
def html(): return '<p>é</p>'
@app.get('/none', status_code=204)
def none(): pass
""",
        (get("/text"), get("/html"), get("/none")),
    ),
    Shape(
        "middleware that changes the path",
        """
app = FastAPI()
class Versionless:
    def __init__(self, app): self.app = app
    async def __call__(self, scope, receive, send):
        if scope.get('query_string') == b'v2': scope['path'] = scope['path'].replace('/latest/', '/v2/')
        await self.app(scope, receive, send)
app.add_middleware(Versionless)
@app.get('/latest/x')
def latest(): return 'latest'
@app.get('/v2/x')
def two(): return 'two'
""",
        (get("/latest/x"), get("/latest/x?v2"), get("/v2/x")),
    ),
    Shape(
        "a route that decides by a header",
        """
from fastapi.routing import APIRoute
from starlette.routing import Match
class Versioned(APIRoute):
    def matches(self, scope):
        found, child = super().matches(scope)
        return (found, child) if (b'x-version', b'2') in scope['headers'] else (Match.NONE, {})
app = FastAPI()
app.router.route_class = Versioned
@app.get('/versioned/{n}')
def two(n: int): return n
""",
        tuple(get("/versioned/3", headers={"x-version": version}) for version in ("2", "1", "2")),
    ),
    Shape(
        "routers in routers, asked more than once",
        """
inner, outer = APIRouter(prefix='/in'), APIRouter(prefix='/out/{o}', dependencies=[Depends(lambda: None)])
@inner.get('/{i}')
def first(o: str, i: int, request: Request):
    return [o, i, request.scope['route'].path, request.scope['endpoint'].__name__]
@inner.post('/{i}')
def second(o: str, i: int): return 'posted'
outer.include_router(inner)
router = APIRouter()
router.include_router(outer)
@router.get('/alone/{n}')
def alone(n: int, request: Request): return [n, request.scope['route'].path, request.path_params]
""",
        (get("/out/a/in/1"), get("/out/b/in/2"), post("/out/c/in/3"), *(get(f"/alone/{n}") for n in range(3))),
    ),
    Shape(
        "unhandled error",
        "app = FastAPI()\n@app.get('/broken')\ndef broken(): raise RuntimeError('broken')",
        (get("/broken"),),
    ),
    Shape(
        "query models",
        """
app = FastAPI()
class Filter(BaseModel):
    limit: int = Field(10, le=100)
    sort: list[str] = []
@app.get('/filter')
def view(f: Annotated[Filter, Query()]): return f
""",
        (get("/filter?limit=5&sort=a&sort=b"), get("/filter?limit=500")),
    ),
)
