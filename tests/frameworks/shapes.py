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
        "what happens when",
        """
app = FastAPI()
log = []
async def outer():
    log.append('outer opens')
    try: yield 'outer'
    except HTTPException as error: log.append(f'outer sees {error.status_code}'); raise
    finally: log.append('outer closes')
def inner(o: Annotated[str, Depends(outer)], response: Response, tasks: BackgroundTasks):
    response.headers['x-inner'] = o; response.status_code = 203; tasks.add_task(log.append, 'task of inner')
    yield o + ' inner'
    log.append('inner closes')
def fresh(): log.append('fresh'); return len(log)
Fresh = Annotated[int, Depends(fresh, use_cache=False)]
@app.get('/when')
async def when(i: Annotated[str, Depends(inner)], a: Fresh, b: Fresh, tasks: BackgroundTasks):
    tasks.add_task(log.append, 'own task'); log.append('answered'); return [i, b - a]
@app.get('/refused', dependencies=[Depends(inner)])
def refused(): raise HTTPException(409, 'no')
@app.get('/streamed')
def streamed(i: Annotated[str, Depends(inner)]):
    def parts():
        for n in range(2): log.append(f'part {n}'); yield f'{n}'
    return StreamingResponse(parts())
@app.get('/log')
def show(): return log
""",
        (get("/when"), get("/refused"), get("/streamed"), get("/log")),
    ),
    Shape(
        "classes and values as dependencies",
        """
class Pages:
    def __init__(self, page: int = 1, size: Annotated[int, Query(le=50)] = 20): self.window = (page * size, size)
class AtLeast:
    def __init__(self, least: int): self.least = least
    def __call__(self, n: int = 0): return n >= self.least
router = APIRouter()
@router.get('/classes')
def classes(p: Annotated[Pages, Depends()], ok: Annotated[bool, Depends(AtLeast(3))]): return [p.window, ok]
""",
        (get("/classes?page=2&n=3"), get("/classes?size=51"), get("/classes?n=x&page=y")),
    ),
    Shape(
        "scopes and a login form",
        """
app = FastAPI()
scheme = OAuth2PasswordBearer(tokenUrl='token', scopes={'read': 'Read', 'write': 'Write'})
async def user(scopes: SecurityScopes, token: Annotated[str, Depends(scheme)]):
    missing = [scope for scope in scopes.scopes if scope not in token.split('-')]
    if missing: raise HTTPException(401, missing, {'WWW-Authenticate': f'Bearer scope="{scopes.scope_str}"'})
    return token
@app.post('/token')
async def token(form: Annotated[OAuth2PasswordRequestForm, Depends()]):
    return {'access_token': '-'.join([form.username, *form.scopes]), 'token_type': 'bearer'}
@app.get('/scoped')
def scoped(u: Annotated[str, Security(user, scopes=['read', 'write'])]): return u
@app.get('/maybe')
def maybe(c: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]): return c
@app.get('/keys')
def keys(q: Annotated[str, Depends(APIKeyQuery(name='k'))], c: Annotated[str, Depends(APIKeyCookie(name='c'))]):
    return [q, c]
@app.get('/digest')
def digest(c: Annotated[HTTPAuthorizationCredentials, Depends(HTTPDigest())]): return c.credentials
""",
        (
            post("/token", data={"username": "ada", "password": "x", "scope": "read write"}),
            post("/token", data={"username": "ada"}),
            get("/scoped"),
            get("/scoped", headers={"authorization": "Bearer ada-read"}),
            get("/scoped", headers={"authorization": "Bearer ada-read-write"}),
            get("/maybe"),
            get("/maybe", headers={"authorization": "Bearer t"}),
            get("/keys?k=1", headers={"cookie": "c=2"}),
            get("/keys?k=1"),
            get("/digest", headers={"authorization": "Digest x"}),
        ),
    ),
    Shape(
        "own answers to what does not validate",
        """
from fastapi.exceptions import RequestValidationError
app = FastAPI()
@app.exception_handler(RequestValidationError)
async def invalid(request, error): return JSONResponse([[*each['loc']] for each in error.errors()], 400)
@app.exception_handler(Exception)
async def any_error(request, error): return PlainTextResponse(f'oh: {error}', 500)
@app.get('/places/{n}')
def places(n: int, q: int, x_h: Annotated[int, Header()], c: Annotated[int, Cookie()]): return n
@app.get('/breaks')
def breaks(): raise ValueError('this')
""",
        (get("/places/a?q=b", headers={"x-h": "c", "cookie": "c=d"}), get("/places/1"), get("/breaks")),
    ),
    Shape(
        "a route class of one's own",
        """
from fastapi.routing import APIRoute
class Timed(APIRoute):
    def get_route_handler(self):
        handle = super().get_route_handler()
        async def timed(request: Request) -> Response:
            response = await handle(request); response.headers['x-timed'] = self.path; return response
        return timed
router = APIRouter(route_class=Timed)
@router.get('/timed/{n}')
def timed(n: int): return n
""",
        (get("/timed/3"), get("/timed/x")),
    ),
    Shape(
        "generated ids",
        """
def unique(route): return f'{route.tags[0]}-{route.name}'
app = FastAPI(generate_unique_id_function=unique, title='Ids', version='7')
users = APIRouter(prefix='/users', tags=['users'], responses={404: {'description': 'Nobody'}})
@users.get('/{id}', operation_id='the_user', summary='One', deprecated=True)
def user(id: int): return id
@users.get('/')
def listing() -> list[int]:
    'All of them.'
    return [1]
app.include_router(users)
""",
        (get("/users/3"), get("/users/")),
    ),
    Shape(
        "values that JSON has not",
        """
import datetime, decimal, enum, uuid
class Colour(enum.Enum): RED = 'red'
class Cat(BaseModel):
    kind: str = 'cat'
    lives: int | None = None
class Out(BaseModel):
    at: datetime.datetime = datetime.datetime(2030, 1, 2, tzinfo=datetime.timezone.utc)
    price: decimal.Decimal = decimal.Decimal('1.10')
    key: uuid.UUID = uuid.UUID(int=7)
    colour: Colour = Colour.RED
    tags: set[str] = {'a'}
    cat: Cat = Cat()
router = APIRouter()
@router.get('/out')
def out() -> Out: return Out()
@router.get('/short', response_model=Out, response_model_exclude_defaults=True)
def short(): return Out(cat=Cat(lives=9))
@router.get('/plain')
def plain(colour: Colour, days: list[datetime.date] = Query([])): return {'c': colour, 'd': days}
@router.post('/embedded')
def embedded(cat: Annotated[Cat, Body(embed=True)], n: Annotated[int, Body()]): return [cat, n]
""",
        (
            get("/out"),
            get("/short"),
            get("/plain?colour=red&days=2030-01-02&days=2030-01-03"),
            get("/plain?colour=blue"),
            post("/embedded", json={"cat": {"lives": 3}, "n": 1}),
            post("/embedded", json={"cat": 3}),
        ),
    ),
    Shape(
        "lifespans of an app and of its router",
        """
from contextlib import asynccontextmanager
order = []
def lived(name):
    @asynccontextmanager
    async def lifespan(app):
        order.append(name); yield {name: order}
    return lifespan
users = APIRouter(lifespan=lived('router'))
@users.get('/lived')
def show(request: Request): return [request.state.router, request.state.app]
app = FastAPI(lifespan=lived('app'))
app.include_router(users)
""",
        (get("/lived"),),
    ),
    Shape(
        "items and events one by one",
        """
from collections.abc import AsyncIterable, Iterable
from fastapi.sse import EventSourceResponse, ServerSentEvent
app = FastAPI()
class Step(BaseModel):
    n: int
@app.get('/steps')
async def steps() -> AsyncIterable[Step]:
    for n in range(3): yield Step(n=n)
@app.get('/events', response_class=EventSourceResponse)
def events() -> Iterable[Step]:
    for n in range(2): yield Step(n=n)
@app.get('/named', response_class=EventSourceResponse)
async def named() -> AsyncIterable[ServerSentEvent]:
    yield ServerSentEvent(data={'a': 1}, event='made', id='7')
""",
        (get("/steps"), get("/events"), get("/named")),
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
    Shape(
        "what a dependency makes of an error",
        """
app = FastAPI()
log = []
def outer():
    try: yield 1
    except HTTPException as error: log.append(error.status_code); raise
    finally: log.append('closed')
async def inner(a: Annotated[int, Depends(outer)]):
    try: yield 2
    except KeyError: raise HTTPException(400, 'from yield', {'x-y': '1'})
def before():
    raise HTTPException(402, 'before')
    yield
@app.get('/key')
def key(x: Annotated[int, Depends(inner)]): raise KeyError('z')
@app.get('/http')
def http(x: Annotated[int, Depends(inner)]): raise HTTPException(409)
@app.get('/before', dependencies=[Depends(before)])
def never(): return 1
@app.get('/log')
def show(): return log
""",
        (get("/key"), get("/http"), get("/before"), get("/log")),
    ),
    Shape(
        "what of a model is shown",
        """
app = FastAPI()
class Model(BaseModel):
    a: int = 1
    b: int | None = None
    c: str = Field('x', alias='C')
@app.get('/unset', response_model=Model, response_model_exclude_unset=True)
def unset(): return {'a': 3}
@app.get('/names', response_model=Model, response_model_exclude_none=True, response_model_by_alias=False)
def names(): return Model()
@app.get('/some', response_model=Model, response_model_include={'a'})
def some(): return Model()
@app.get('/either')
def either() -> list[Model] | dict[str, int]: return {'q': 1}
""",
        (get("/unset"), get("/names"), get("/some"), get("/either")),
    ),
    Shape(
        "form models and a large upload",
        """
import hashlib
app = FastAPI()
class Fields(BaseModel):
    model_config = {'extra': 'forbid'}
    u: str
    n: int = 3
@app.post('/fields')
def fields(x: Annotated[Fields, Form()]): return x
@app.post('/upload')
async def upload(f: UploadFile, note: Annotated[str, Form()] = 'n'):
    return [f.filename, f.size, hashlib.md5(await f.read()).hexdigest(), note, f.headers['content-type']]
@app.post('/raw')
async def raw(request: Request): return sum([len(part) async for part in request.stream()])
""",
        (
            post("/fields", data={"u": "x"}),
            post("/fields", data={"u": "x", "z": "1"}),
            post("/upload", files={"f": ("a ü.bin", b"x" * 5_000_000)}, data={"note": "é"}),
            post("/upload"),
            post("/raw", content=b"x" * 5_000_000),
            post("/fields", content=b"--x\r\n", headers={"content-type": "multipart/form-data"}),
        ),
    ),
    Shape(
        "context variables",
        """
import contextvars
seen = contextvars.ContextVar('seen', default='none')
app = FastAPI()
def plain(): seen.set('plain')
async def awaited():
    token = seen.set('awaited')
    yield
    seen.reset(token)
@app.middleware('http')
async def around(request, call_next):
    seen.set('middleware')
    return await call_next(request)
@app.get('/plain', dependencies=[Depends(plain)])
def one(): return seen.get()
@app.get('/awaited', dependencies=[Depends(awaited)])
def two(): return seen.get()
@app.get('/middleware')
async def three(): return seen.get()
""",
        (get("/plain"), get("/awaited"), get("/middleware")),
    ),
    Shape(
        "endpoints that are no functions",
        """
import functools
from starlette.endpoints import HTTPEndpoint
from starlette.routing import Route as Plain
class Views:
    async def get(self, q: int = 0): return ['bound', q]
    async def __call__(self, q: int = 0): return ['called', q]
def two(a: int, b: int = 2): return [a, b]
class Endpoint(HTTPEndpoint):
    async def get(self, request): return PlainTextResponse('class')
async def raw(scope, receive, send):
    await PlainTextResponse(scope['path'])(scope, receive, send)
app = FastAPI()
app.add_api_route('/bound', Views().get)
app.add_api_route('/called', Views())
app.add_api_route('/partial', functools.partial(two, b=5))
app.add_route('/plain', lambda request: PlainTextResponse('plain'), methods=['GET', 'POST'])
app.router.routes.append(Plain('/class', Endpoint))
app.mount('/raw', raw)
""",
        (get("/bound?q=1"), get("/called"), get("/partial?a=1"), get("/partial?a=x"), post("/plain"), get("/raw/x")),
    ),
    Shape(
        "paths of every kind, in their order",
        """
import enum
class Kind(str, enum.Enum): A = 'alpha'; B = 'beta gamma'
app = FastAPI()
@app.get('/kind/{kind}')
def kind(kind: Kind): return kind
@app.get('/file/{p:path}')
def file(p: str): return p
@app.get('/file/{p:path}/edit')
def never(p: str): return 'edit ' + p
@app.get('/user/me')
def me(): return 'me'
@app.get('/user/{name}')
def user(name: str): return name
@app.get('/two/{a}.{b}')
def two(a: str, b: str): return [a, b]
@app.api_route('/odd', methods=['PROPFIND', 'TRACE'])
def odd(request: Request): return request.method
""",
        (
            *(get(path) for path in ("/kind/alpha", "/kind/beta%20gamma", "/kind/no", "/file/a/b%2Fc", "/file/a/edit")),
            *(get(path) for path in ("/user/me", "/user/x%20y", "/user/%C3%A9", "/user/%FF", "/two/x.y.z")),
            *(("PROPFIND", "/odd", {}), ("TRACE", "/odd", {})),
        ),
    ),
)
