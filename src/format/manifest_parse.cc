// manifest.json from outside: every entry is checked before a Manifest exists.
#include <algorithm>
#include <charconv>
#include <set>

#include "base/error.h"
#include "format/json.h"
#include "format/manifest.h"

namespace doppler {
namespace {

constexpr std::size_t kMaxTensorDims = 8;
constexpr std::size_t kMaxTensorNameLength = 512;
constexpr Bytes kMaxShardBytes = Bytes{1} << 62;

// A model's name is used as a folder's name.
bool IsModelId(std::string_view id) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  return !id.empty() && id.size() <= 128 && id.front() != '.' &&
         std::all_of(id.begin(), id.end(), allowed);
}

// Whether a name is a plain path below the artifact's folder.
bool StaysInside(std::string_view file) {
  const auto forbidden = [](char c) {
    return c == '\\' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  };
  if (file.size() > kMaxTensorNameLength || std::any_of(file.begin(), file.end(), forbidden))
    return false;
  for (;;) {
    const std::size_t slash = file.find('/');
    const std::string_view part = file.substr(0, slash);
    if (part.empty() || part == "." || part == "..") return false;
    if (slash == std::string_view::npos) return true;
    file.remove_prefix(slash + 1);
  }
}

// A decimal number without sign or leading zeros.
bool IsIndex(std::string_view digits) {
  std::int32_t value = 0;
  const auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return status == std::errc() && end == digits.data() + digits.size() && digits.front() != '-' &&
         (digits.size() == 1 || digits.front() != '0');
}

bool IsExpertKey(std::string_view key) {
  const std::size_t middle = key.find('_');
  return middle != std::string_view::npos && middle > 0 && middle + 1 < key.size() &&
         IsIndex(key.substr(0, middle)) && IsIndex(key.substr(middle + 1));
}

// "layers.3.mlp.experts.17." from "3_17".
std::string ExpertPrefix(const std::string& key) {
  const std::size_t middle = key.find('_');
  return "layers." + key.substr(0, middle) + ".mlp.experts." + key.substr(middle + 1) + ".";
}

class ManifestParser {
 public:
  ManifestParser(const nlohmann::json& document, const std::string& where)
      : top_(document, where) {}

  Manifest Parse() {
    top_.RequireOnly({"format", "version", "modelId", "architecture", "shardingStrategy",
                      "defaultWeightLayout", "shards", "tensors"});
    ReadHeader();
    ReadShards();
    ReadTensors();
    CheckPlaces();
    return std::move(manifest_);
  }

 private:
  void ReadHeader() {
    const JsonReader format = top_.Member("format");
    if (format.String() != "rdrr") format.Fail("the format is not 'rdrr'");
    const JsonReader version = top_.Member("version");
    if (version.Unsigned() != 1) {
      version.Fail("version {} is not supported, only 1 is; use a newer Doppler",
                   version.Unsigned());
    }
    const JsonReader id = top_.Member("modelId");
    if (!IsModelId(id.String())) {
      id.Fail("a model's name has 1 to 128 letters, digits, '-', '_' and '.', no '.' first");
    }
    manifest_.model_id = id.String();
    const JsonReader architecture = top_.Member("architecture");
    architecture.RequireObject();
    manifest_.architecture = architecture.value().dump();
    const JsonReader strategy = top_.Member("shardingStrategy");
    manifest_.strategy = Named(strategy, StrategyFromName(strategy.String()), "sharding strategy");
    const JsonReader layout = top_.Member("defaultWeightLayout");
    manifest_.default_layout = Named(layout, LayoutFromName(layout.String()), "layout");
  }

  template <typename Value>
  static Value Named(const JsonReader& json, std::optional<Value> value, const char* what) {
    if (!value) json.Fail("the {} '{}' is not known", what, json.String());
    return *value;
  }

  void ReadShards() {
    const JsonReader shards = top_.Member("shards");
    shards.RequireArray();
    if (shards.value().empty()) shards.Fail("there are no shards");
    for (std::size_t i = 0; i < shards.value().size(); ++i) {
      const JsonReader shard = shards.Element(i);
      if (const JsonReader index = shard.Member("index"); index.Unsigned() != i) {
        index.Fail("the shards must be numbered 0, 1, 2 and so on");
      }
      manifest_.shards.push_back(ReadShard(shard));
    }
  }

  ShardEntry ReadShard(const JsonReader& json) {
    json.RequireOnly({"index", "file", "type", "expertKey", "size", "hash"});
    ShardEntry shard;
    const JsonReader file = json.Member("file");
    shard.file = file.String();
    if (!StaysInside(shard.file)) {
      file.Fail("a file name must be a plain relative path inside the artifact, with '/'");
    }
    for (const std::string& name : {shard.file, LeavesFileOf(shard)}) {
      if (name == kNodesFile) file.Fail("'{}' is the name of the file of hashes", name);
      if (!files_.insert(name).second) file.Fail("two shards use the file '{}'", name);
    }
    const JsonReader type = json.Member("type");
    shard.type = Named(type, ShardTypeFromName(type.String()), "shard type");
    shard.expert_key = ReadExpertKey(json, shard.type);
    const JsonReader size = json.Member("size");
    shard.size = size.Unsigned();
    if (shard.size == 0 || shard.size % kDirectAlignment != 0 || shard.size > kMaxShardBytes) {
      size.Fail("{} is not a shard's size; it must be a multiple of {}, and not 0", shard.size,
                kDirectAlignment);
    }
    const JsonReader hash = json.Member("hash");
    const std::optional<Digest> digest = DigestFromHex(hash.String());
    if (!digest) hash.Fail("a hash has 64 hexadecimal digits");
    shard.hash = *digest;
    return shard;
  }

  std::string ReadExpertKey(const JsonReader& shard, ShardType type) {
    const std::optional<JsonReader> key = shard.OptionalMember("expertKey");
    if (type != ShardType::kExpert) {
      if (key) key->Fail("only a shard of type 'expert' has one");
      return {};
    }
    if (!key) shard.Fail("a shard of type 'expert' needs the key 'expertKey'");
    if (!IsExpertKey(key->String())) key->Fail("this is not LAYER_EXPERT, such as '3_17'");
    if (!expert_keys_.insert(key->String()).second) {
      key->Fail("expert '{}' has two shards", key->String());
    }
    return key->String();
  }

  void ReadTensors() {
    const JsonReader tensors = top_.Member("tensors");
    tensors.RequireObject();
    for (const auto& item : tensors.value().items()) {
      const std::string& name = item.key();
      if (name.empty() || name.size() > kMaxTensorNameLength) {
        tensors.Fail("a tensor's name has 1 to {} characters", kMaxTensorNameLength);
      }
      manifest_.tensors.emplace(name, ReadTensor(name, tensors.Member(name)));
    }
  }

  TensorEntry ReadTensor(const std::string& name, const JsonReader& json) {
    json.RequireOnly({"shard", "offset", "size", "shape", "dtype", "layout", "originalShape",
                      "sliceDim", "sliceIdx", "sliceCount"});
    TensorEntry tensor;
    const JsonReader shard = json.Member("shard");
    if (shard.Unsigned() >= manifest_.shards.size()) {
      shard.Fail("there are only {} shards", manifest_.shards.size());
    }
    tensor.shard = ShardId(static_cast<std::size_t>(shard.Unsigned()));
    tensor.shape = ReadShape(json.Member("shape"));
    const JsonReader dtype = json.Member("dtype");
    tensor.dtype = Named(dtype, DTypeFromName(dtype.String()), "number format");
    tensor.layout = manifest_.default_layout;
    if (const auto layout = json.OptionalMember("layout")) {
      tensor.layout = Named(*layout, LayoutFromName(layout->String()), "layout");
    }
    tensor.slice = ReadSlice(json, tensor.shape);
    ReadPlace(json, tensor);
    const std::string& key = manifest_.shards[tensor.shard.index()].expert_key;
    if (!key.empty() && !name.starts_with(ExpertPrefix(key))) {
      json.Fail("the shard of expert '{}' must hold nothing else", key);
    }
    return tensor;
  }

  static std::vector<std::int64_t> ReadShape(const JsonReader& json) {
    json.RequireArray();
    if (json.value().empty() || json.value().size() > kMaxTensorDims) {
      json.Fail("a shape has 1 to {} dimensions", kMaxTensorDims);
    }
    std::vector<std::int64_t> shape;
    for (std::size_t dim = 0; dim < json.value().size(); ++dim) {
      const JsonReader extent = json.Element(dim);
      if (extent.Unsigned() == 0 || extent.Unsigned() > std::uint64_t{1} << 62) {
        extent.Fail("{} is not a dimension's extent", extent.Unsigned());
      }
      shape.push_back(static_cast<std::int64_t>(extent.Unsigned()));
    }
    return shape;
  }

  static std::optional<TensorSlice> ReadSlice(const JsonReader& json,
                                              const std::vector<std::int64_t>& shape) {
    constexpr int kMostSlices = 1 << 20;
    const bool any = json.value().contains("originalShape") || json.value().contains("sliceDim") ||
                     json.value().contains("sliceIdx") || json.value().contains("sliceCount");
    if (!any) return std::nullopt;
    TensorSlice slice;
    const JsonReader original = json.Member("originalShape");
    slice.original_shape = ReadShape(original);
    slice.dim = json.Member("sliceDim").Int(static_cast<int>(shape.size()) - 1);
    slice.count = json.Member("sliceCount").Int(kMostSlices);
    const JsonReader index = json.Member("sliceIdx");
    slice.index = index.Int(kMostSlices);
    if (slice.index >= slice.count) index.Fail("there are only {} slices", slice.count);
    std::vector<std::int64_t> whole = shape;
    const std::optional<std::uint64_t> extent =
        CheckedMul(static_cast<std::uint64_t>(whole[static_cast<std::size_t>(slice.dim)]),
                   static_cast<std::uint64_t>(slice.count));
    whole[static_cast<std::size_t>(slice.dim)] =
        extent && *extent >> 63 == 0 ? static_cast<std::int64_t>(*extent) : 0;
    if (whole != slice.original_shape) {
      original.Fail("{} slices along dimension {} do not add up to this shape", slice.count,
                    slice.dim);
    }
    return slice;
  }

  void ReadPlace(const JsonReader& json, TensorEntry& tensor) {
    const JsonReader size = json.Member("size");
    const JsonReader offset = json.Member("offset");
    tensor.size = size.Unsigned();
    tensor.offset = offset.Unsigned();
    const std::optional<Bytes> needed = TensorBytes(tensor.dtype, tensor.shape, tensor.layout);
    if (!needed) FailImpossible(json, tensor);
    if (*needed != tensor.size) {
      size.Fail("the shape in format '{}' takes {} bytes, not {}", DTypeName(tensor.dtype), *needed,
                tensor.size);
    }
    if (tensor.offset % kTensorAlignment != 0) {
      offset.Fail("{} is not a multiple of {}", tensor.offset, kTensorAlignment);
    }
    const Bytes available = manifest_.shards[tensor.shard.index()].size;
    const std::optional<Bytes> end = CheckedAdd(tensor.offset, tensor.size);
    if (!end || *end > available) {
      json.Fail("{} bytes at {} reach beyond shard {}, which has {} bytes", tensor.size,
                tensor.offset, tensor.shard.value, available);
    }
  }

  [[noreturn]] static void FailImpossible(const JsonReader& json, const TensorEntry& tensor) {
    if (tensor.layout == WeightLayout::kRow || !TensorBytes(tensor.dtype, tensor.shape)) {
      json.Fail("this shape is not possible in format '{}'", DTypeName(tensor.dtype));
    }
    json.Fail("the layout '{}' is not possible for this shape in format '{}'",
              LayoutName(tensor.layout), DTypeName(tensor.dtype));
  }

  // No two tensors share bytes.
  void CheckPlaces() const {
    std::vector<std::pair<const std::string*, const TensorEntry*>> places;
    for (const auto& [name, tensor] : manifest_.tensors) places.emplace_back(&name, &tensor);
    std::sort(places.begin(), places.end(), [](const auto& a, const auto& b) {
      return std::pair(a.second->shard, a.second->offset) <
             std::pair(b.second->shard, b.second->offset);
    });
    for (std::size_t i = 1; i < places.size(); ++i) {
      const auto& [name, tensor] = places[i];
      const auto& [name_before, before] = places[i - 1];
      if (before->shard == tensor->shard && before->offset + before->size > tensor->offset) {
        top_.Fail("the tensors '{}' and '{}' overlap in shard {}", *name_before, *name,
                  tensor->shard.value);
      }
    }
  }

  JsonReader top_;
  Manifest manifest_;
  std::set<std::string> files_;
  std::set<std::string> expert_keys_;
};

}  // namespace

Manifest ParseManifest(std::string_view json, const std::string& where) {
  const nlohmann::json document = ParseStrictJson(json, where);
  return ManifestParser(document, where).Parse();
}

}  // namespace doppler
