// Runs an explained model on a picture and paints the map of its best class over it: PPM in, PPM out.
//
//     explain MODEL_xai.xml IN.ppm OUT.ppm [PRECISION [CLASS]]
//
// PRECISION: f32, bf16, f16; default: the device's own. CLASS: the number of another class than the best one. Which is best is
// read from a row of scores, as classifiers have it, or from boxes and labels, as OTX's detectors have them; of other models say it.
//
// Nothing here knows ovxai: the maps are an output of the model, called "saliency_map", [N, classes, h, w] u8; where it was
// inserted with --classes or --per box, "saliency_index" says which map is of which class. Of a model in two parts
// (ovxai insert --split) give the plain part; its head is the file beside it.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <iterator>
#include <openvino/core/preprocess/pre_post_process.hpp>
#include <openvino/openvino.hpp>
#include <sstream>
#include <utility>

struct Picture { size_t width = 0, height = 0; std::vector<uint8_t> rgb; };

Picture read_ppm(const std::string& path) {  // binary P6, 8 bits a channel, without comments
    std::ifstream file(path, std::ios::binary);
    std::string kind;
    size_t levels = 0;
    Picture picture;
    if (!(file >> kind >> picture.width >> picture.height >> levels) || kind != "P6" || levels != 255)
        throw std::runtime_error(path + ": not a binary PPM with 8 bits a channel");
    file.get();
    picture.rgb.resize(picture.width * picture.height * 3);
    if (!file.read(reinterpret_cast<char*>(picture.rgb.data()), picture.rgb.size()))
        throw std::runtime_error(path + ": ends too early");
    return picture;
}

std::string info(const std::shared_ptr<ov::Model>& model, const std::string& key) {
    return model->has_rt_info("model_info", key) ? model->get_rt_info<std::string>("model_info", key) : "";
}

std::vector<float> numbers(const std::string& text) {
    std::istringstream words(text);
    return {std::istream_iterator<float>(words), std::istream_iterator<float>()};
}

bool gives(const std::vector<ov::Output<const ov::Node>>& outputs, const std::string& name) {
    return std::any_of(outputs.begin(), outputs.end(), [&](auto& output) { return output.get_names().count(name); });
}

// The class that the model puts first; of `classes`, where there is a map of every one.
int64_t best_class(ov::InferRequest request, size_t classes) {
    auto outputs = request.get_compiled_model().outputs();
    if (gives(outputs, "boxes") && gives(outputs, "labels")) {  // [N, boxes, 5], the score last, and [N, boxes]
        auto boxes = request.get_tensor("boxes"), labels = request.get_tensor("labels");
        size_t best = 0, width = boxes.get_shape().back();
        if (!labels.get_size() || width != 5) throw std::runtime_error("nothing was found in the picture; give a CLASS");
        auto score = [&](size_t box) { return boxes.data<float>()[box * width + 4]; };
        for (size_t box = 1; box < labels.get_size(); ++box) if (score(box) > score(best)) best = box;
        return labels.get_element_type() == ov::element::i64 ? labels.data<int64_t>()[best] : labels.data<int32_t>()[best];
    }
    auto scores = request.get_output_tensor(0);  // the model's own output comes first
    if (scores.get_size() != scores.get_shape().back() || (classes && scores.get_size() != classes))
        throw std::runtime_error("the first output is no row of class scores; give the number of a CLASS");
    return std::max_element(scores.data<float>(), scores.data<float>() + scores.get_size()) - scores.data<float>();
}

// Which of the maps is of a class: the one of that number, unless the model says of which classes they are.
size_t place(ov::InferRequest request, int64_t wanted, size_t maps) {
    if (!gives(request.get_compiled_model().outputs(), "saliency_index")) {
        if (wanted < 0 || size_t(wanted) >= maps) throw std::runtime_error("there is no map of class " + std::to_string(wanted));
        return wanted;
    }
    auto index = request.get_tensor("saliency_index");
    auto begin = index.data<int64_t>(), end = begin + index.get_size(), found = std::find(begin, end, wanted);
    if (found == end) throw std::runtime_error("there is no map of class " + std::to_string(wanted) + " for this picture");
    return found - begin;
}

int64_t number(const std::string& word) {
    if (word.find_first_not_of("0123456789") != std::string::npos || word.size() > 9)
        throw std::runtime_error("CLASS is a number, not '" + word + "'");
    return std::stoll(word);
}

void run(const std::string& model_path, const std::string& in, const std::string& out, const std::string& precision,
         const std::string& wanted) {
    ov::Core core;
    auto model = core.read_model(model_path);
    auto picture = read_ppm(in);
    if (!gives(std::as_const(*model).outputs(), "saliency_map") && !model->has_rt_info("ovxai", "split"))
        throw std::runtime_error(model_path + ": has no output saliency_map; ovxai insert makes a model that has");
    if (auto fitted = info(model, "resize_type"); fitted.rfind("fit_to_window", 0) == 0)
        throw std::runtime_error(model_path + ": wants pictures padded (resize_type " + fitted + "), which this example does not do");
    // The part of the picture that the model sees: all of it, or the square in its middle.
    bool crop = info(model, "resize_type") == "crop";
    size_t width = crop ? std::min(picture.width, picture.height) : picture.width;
    size_t height = crop ? width : picture.height;
    size_t left = (picture.width - width) / 2, top = (picture.height - height) / 2;
    ov::Tensor seen(ov::element::u8, {1, height, width, 3});
    for (size_t y = 0; y < height; ++y)
        std::copy_n(&picture.rgb[((top + y) * picture.width + left) * 3], width * 3, seen.data<uint8_t>() + y * width * 3);
    // OpenVINO does the rest: u8 RGB pixels of any size -> what the model wants, as its rt_info says.
    ov::preprocess::PrePostProcessor feed(model);
    feed.input().tensor().set_element_type(ov::element::u8).set_layout("NHWC").set_shape(seen.get_shape());
    auto shape = model->input().get_partial_shape();
    feed.input().model().set_layout(shape[1] != 3 && shape[3] == 3 ? "NHWC" : "NCHW");
    auto& steps = feed.input().preprocess();
    if (auto bgr = info(model, "reverse_input_channels"); bgr == "YES" || bgr == "True") steps.reverse_channels();
    steps.convert_element_type(ov::element::f32).resize(ov::preprocess::ResizeAlgorithm::RESIZE_LINEAR);
    if (auto mean = numbers(info(model, "mean_values")); !mean.empty()) steps.mean(mean);
    if (auto scale = numbers(info(model, "scale_values")); !scale.empty()) steps.scale(scale);
    feed.output(0).tensor().set_element_type(ov::element::f32);  // quantised models may give their scores as u8
    ov::AnyMap config;
    if (!precision.empty()) config["INFERENCE_PRECISION_HINT"] = precision;
    auto request = core.compile_model(feed.build(), "CPU", config).create_infer_request();
    request.set_input_tensor(seen);
    request.infer();

    auto asked = request;
    if (model->has_rt_info("ovxai", "split")) {  // in two parts: the head is run for pictures whose map is wanted, here for each
        auto head = core.compile_model(model_path.substr(0, model_path.size() - 4) + "_head.xml", "CPU", config);
        asked = head.create_infer_request();
        for (auto& input : head.inputs()) asked.set_tensor(input, request.get_tensor(input.get_any_name()));
        asked.infer();
    }
    auto maps = asked.get_tensor("saliency_map");
    size_t count = maps.get_shape()[1], rows = maps.get_shape()[2], columns = maps.get_shape()[3];
    bool every = !gives(asked.get_compiled_model().outputs(), "saliency_index");
    int64_t best = wanted.empty() ? best_class(request, every ? count : 0) : number(wanted);
    const uint8_t* map = maps.data<uint8_t>() + place(asked, best, count) * rows * columns;
    for (size_t y = 0; y < height; ++y)
        for (size_t x = 0; x < width; ++x) {  // bilinear, cells are centred
            float v = std::clamp((y + 0.5f) * rows / height - 0.5f, 0.0f, rows - 1.0f);
            float u = std::clamp((x + 0.5f) * columns / width - 0.5f, 0.0f, columns - 1.0f);
            size_t i = v, j = u, i2 = std::min(i + 1, rows - 1), j2 = std::min(j + 1, columns - 1);
            auto along = [&](size_t row) { return (1 - u + j) * map[row * columns + j] + (u - j) * map[row * columns + j2]; };
            float heat = ((1 - v + i) * along(i) + (v - i) * along(i2)) / 255;
            for (int c = 0; c < 3; ++c) {  // red, green, blue of the usual rainbow
                float color = std::clamp(1.5f - std::abs(4 * heat - (3 - c)), 0.0f, 1.0f);
                auto& pixel = picture.rgb[((top + y) * picture.width + left + x) * 3 + c];
                pixel = static_cast<uint8_t>(0.5f * pixel + 127.5f * color);
            }
        }
    std::ofstream(out, std::ios::binary) << "P6\n" << picture.width << ' ' << picture.height << "\n255\n"
        << std::string(picture.rgb.begin(), picture.rgb.end());
    std::cout << "class " << best << ", map " << rows << "x" << columns << ":";
    for (size_t i = 0; i < rows * columns; ++i) std::cout << ' ' << int(map[i]);
    std::cout << std::endl;
}

int main(int count, char** words) try {
    if (count < 4) throw std::runtime_error("usage: explain MODEL_xai.xml IN.ppm OUT.ppm [PRECISION [CLASS]]");
    run(words[1], words[2], words[3], count > 4 ? words[4] : "", count > 5 ? words[5] : "");
} catch (const std::exception& error) {
    std::cerr << "Error: " << error.what() << std::endl;
    return 1;
}
