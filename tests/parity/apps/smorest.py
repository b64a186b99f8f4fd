"""Pets with Flask-Smorest: schemas, pagination, entity tags, OpenAPI."""

from flask import Flask
from flask.views import MethodView
from flask_smorest import Api, Blueprint, abort
from marshmallow import Schema, fields, validate

app = Flask(__name__)
app.config.update(
    API_TITLE="Pets",
    API_VERSION="v1",
    OPENAPI_VERSION="3.0.3",
    OPENAPI_URL_PREFIX="/docs",
    OPENAPI_JSON_PATH="api.json",
)
api = Api(app)
pets = Blueprint("pets", "pets", url_prefix="/pets", description="All pets")
stored = {n: {"id": n, "name": f"pet {n}"} for n in range(1, 31)}


class PetSchema(Schema):
    id = fields.Int(dump_only=True)
    name = fields.Str(required=True, validate=validate.Length(2, 20))
    born = fields.Date()


class QuerySchema(Schema):
    name = fields.Str()


@pets.route("/")
class Pets(MethodView):
    @pets.etag
    @pets.arguments(QuerySchema, location="query")
    @pets.response(200, PetSchema(many=True))
    @pets.paginate()
    def get(self, query, pagination_parameters):
        found = [pet for pet in stored.values() if query.get("name", "") in pet["name"]]
        pagination_parameters.item_count = len(found)
        return found[pagination_parameters.first_item : pagination_parameters.last_item + 1]

    @pets.arguments(PetSchema)
    @pets.response(201, PetSchema)
    def post(self, new):
        new["id"] = max(stored) + 1
        stored[new["id"]] = new
        return new


@pets.route("/<int:pet_id>")
class Pet(MethodView):
    @pets.etag
    @pets.response(200, PetSchema)
    def get(self, pet_id):
        return stored.get(pet_id) or abort(404, message="No such pet.")

    @pets.etag
    @pets.arguments(PetSchema)
    @pets.response(200, PetSchema)
    def put(self, new, pet_id):
        pets.check_etag(stored[pet_id], PetSchema)
        stored[pet_id] = {**new, "id": pet_id}
        return stored[pet_id]

    @pets.response(204)
    def delete(self, pet_id):
        stored.pop(pet_id, None)


api.register_blueprint(pets)
